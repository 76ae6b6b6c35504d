//! Inputs to begin with, in the form that each target reads: see there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

#[path = "../../../vmm/tests/support/image.rs"]
mod image_file;
#[path = "../../../vmm/tests/support/memory.rs"]
mod memory;

use image_file::{BzImage, Segment, elf, elf32, stored};
use memory::{
    IN_INNER, IN_MIDDLE, IN_OUTER, Kind, Logger, NOTE, PRB, TEXT, code, code_symbols, put, put_orc,
};

/// An input and what it is called.
pub(crate) struct Seed {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

fn seed(name: impl Into<String>, parts: &[&[u8]]) -> Seed {
    Seed { name: name.into(), bytes: parts.concat() }
}

fn segments() -> Vec<Segment> {
    let code = vec![0xfa, 0xf4, 0xeb, 0xfd]; // cli; 1: hlt; jmp 1b
    let text = Segment { address: 0x100_0000, data: code, size: 0x1000 };
    let data = Segment { address: 0x120_0000, data: b"Linux version 6.1".to_vec(), size: 0x4000 };
    vec![text, data]
}

/// Both kinds of image, as they are.
pub(crate) fn image() -> anyhow::Result<Vec<Seed>> {
    let (long, protected) = (elf(0x100_0000, &segments()), elf32(0x100_0000, &segments()));
    let image = |elf: &[u8]| BzImage { init_size: 8 << 20, ..BzImage::new(stored(elf)) };
    let as_is: &[u8] = &[0];
    let mut seeds = vec![
        seed("elf", &[as_is, &long]),
        seed("elf32", &[as_is, &protected]),
        seed("bzimage", &[as_is, &image(&long).build()]),
        seed("bzimage-32", &[as_is, &BzImage { xloadflags: 0, ..image(&protected) }.build()]),
        seed("no-setup-sects", &[as_is, &BzImage { setup_sects: 0, ..image(&long) }.build()]),
        seed("fixed", &[as_is, &BzImage { relocatable: 0, ..image(&long) }.build()]),
    ];
    // Protocols, and where their headers end (boot.rst).
    for (version, header_end) in [(0x206, 0x23c), (0x208, 0x250), (0x20a, 0x264), (0x20c, 0x268)] {
        let old = BzImage { version, header_end, xloadflags: 0, ..image(&long) };
        seeds.push(seed(format!("protocol-{version:x}"), &[as_is, &old.build()]));
    }
    Ok(seeds)
}

/// What makes each compression, and what the target puts before its input.
const COMPRESSIONS: [(&str, &[&str], &[u8]); 7] = [
    ("gzip", &["-n"], b"\x1f\x8b\x08"),
    ("bzip2", &[], b"BZh9"),
    ("xz", &["--check=crc32"], b"\xfd7zXZ\0"),
    ("lzop", &[], b"\x89LZO\0\r\n\x1a\n"),
    ("lz4", &["-l"], b"\x02\x21\x4c\x18"),
    ("zstd", &[], b"\x28\xb5\x2f\xfd"),
    ("xz", &["--format=lzma"], b"\x5d\0\0\x80\0"),
];

/// A small kernel and a bomb in each compression whose program is there.
pub(crate) fn payload() -> anyhow::Result<Vec<Seed>> {
    let kernel = elf(0x100_0000, &segments());
    let bomb = vec![0; 8 << 20];
    let mut seeds = Vec::new();
    for ((program, arguments, magic), which) in COMPRESSIONS.into_iter().zip(0_u8..) {
        for (what, content) in [("kernel", &kernel), ("bomb", &bomb)] {
            let Some(compressed) = compress(program, arguments, content)? else {
                eprintln!("no seed of {program}: it is not installed");
                continue;
            };
            let Some(rest) = compressed.strip_prefix(magic) else { continue };
            // What the kernel's build puts behind all but gzip.
            let size = u32::try_from(content.len())?.to_le_bytes();
            let size: &[u8] = if program == "gzip" { &[] } else { &size };
            seeds.push(seed(format!("{which}-{what}"), &[&[which], rest, size]));
        }
    }
    Ok(seeds)
}

/// None if there is no such program.
fn compress(program: &str, arguments: &[&str], content: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let mut command = Command::new(program);
    command.args(arguments).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        child => child.with_context(|| program.to_owned())?,
    };
    let mut stdin = child.stdin.take().context("its input")?;
    let content = content.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&content));
    let output = child.wait_with_output()?;
    writer.join().ok().context("its input")??;
    Ok(Some(output.stdout))
}

/// What kernels do at the ports, and what KVM puts aside of it.
pub(crate) fn ports() -> anyhow::Result<Vec<Seed>> {
    const READ: u8 = 0x80;
    const WRITE: u8 = 0x82;
    const TYPED: u8 = 0x84;
    const KICK: u8 = 0x85;
    const POSTED: u8 = 0x86;
    let access = |what: u8, port: u16, value: [u8; 4]| {
        let [low, high] = port.to_le_bytes();
        let [a, b, c, d] = value;
        [what, low, high, 0, a, b, c, d]
    };
    let write = |port, value| access(WRITE, port, [value, 0, 0, 0]);
    let read = |port| access(READ, port, [0; 4]);
    let set_up = [(0x3fb, 0x80), (0x3f8, 1), (0x3f9, 0), (0x3fb, 3), (0x3fa, 1), (0x3f9, 5)];
    let set_up: Vec<[u8; 8]> = set_up.map(|(port, value)| write(port, value)).into();
    let line = b"[    0.000000] Linux version 6.1\r\n";
    let posted = line.chunks(4).map(|chunk| {
        let mut value = [b'.'; 4];
        value[..chunk.len()].copy_from_slice(chunk);
        [access(POSTED, 0, value), read(0x3fd)]
    });
    let serial =
        [set_up.clone(), posted.flatten().collect(), vec![access(KICK, 0, [0; 4])]].concat();
    let typed = [set_up, vec![access(TYPED, 0, *b"ls\r\n"), read(0x3fa), read(0x3f8), read(0x3fd)]]
        .concat();
    let i8042 = [write(0x64, 0xaa), read(0x60), write(0x64, 0x20), read(0x60), write(0x64, 0x60)];
    let i8042 = [i8042.as_slice(), &[write(0x60, 0x65), write(0x64, 0xfe)]].concat();
    let agent: Vec<_> = b"nonce exit 0\n".iter().map(|byte| write(0x7b0, *byte)).collect();
    let cmos = [write(0x70, 0x0b), read(0x71), write(0x71, 2), read(0x71), write(0xcf9, 6)];
    let named = [
        ("serial", serial),
        ("typed", typed),
        ("i8042", i8042),
        ("agent", agent),
        ("cmos", cmos.to_vec()),
    ];
    Ok(named.map(|(name, accesses)| seed(name, &[accesses.as_flattened()])).into())
}

/// The mode byte of the targets that read memory.
fn mode(kind: Kind) -> u8 {
    match kind {
        Kind::Long => 1,
        Kind::Pae => 2,
        Kind::Legacy => 3 | 4,
    }
}

/// Logs of every kind of kernel, found in every way.
pub(crate) fn kernel_log() -> anyhow::Result<Vec<Seed>> {
    /// Where the log of a kernel before 5.10 has its variables, and its buffer.
    const VARIABLES: u64 = 0x8000;
    const BUFFER: u64 = 0x9000;
    let unit = |address: u64| (address >> 8) as u8;
    let mut seeds = Vec::new();
    for kind in Kind::ALL {
        for (desc_ring, noted) in [(5, false), (6, true)] {
            let mut logger = Logger::new(kind, desc_ring);
            for number in 0..40 {
                logger.log(&format!("message {number}"));
            }
            logger.prb();
            if noted {
                logger.note();
                logger.put_word(NOTE - 0x100, kind.base() + NOTE);
            }
            let mut head = [mode(kind), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            // prb is the seventh symbol, vmcoreinfo_data the twelfth.
            head[3 + 6] = unit(PRB);
            head[3 + 11] = if noted { unit(NOTE - 0x100) } else { 0 };
            let name = format!("{kind:?}-{desc_ring}").to_lowercase();
            seeds.push(seed(name, &[&head, &logger.memory]));
        }
        let mut memory = kind.memory(0xc000);
        let mut put = |at, bytes: &[u8]| put(&mut memory, at, bytes);
        let text = b"Linux version 4.9";
        let length = 16 + text.len().next_multiple_of(4);
        put(VARIABLES, &kind.pointer(kind.base() + BUFFER));
        for (variable, value) in (1..).zip([256_u32, 0, length as u32]) {
            put(VARIABLES + 0x100 * variable, &value.to_le_bytes());
        }
        put(BUFFER + 8, &[length as u8, 0, text.len() as u8, 0, 0, 0, 0, 6 << 5]);
        put(BUFFER + 16, text);
        let mut head = [mode(kind), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // log_buf, log_buf_len, log_first_idx and log_next_idx are the eighth to the eleventh.
        for (symbol, at) in (3 + 7..).zip((VARIABLES..).step_by(0x100)).take(4) {
            head[symbol] = unit(at);
        }
        seeds.push(seed(format!("{kind:?}-old").to_lowercase(), &[&head, &memory]));
    }
    Ok(seeds)
}

/// Stacks of every kind of kernel, with ORC tables, frame pointers, or neither.
pub(crate) fn unwind() -> anyhow::Result<Vec<Seed>> {
    const STACK_TOP: u64 = 0xa000;
    let mut seeds = Vec::new();
    for kind in Kind::ALL {
        let word = kind.word();
        let mut memory = code(kind, STACK_TOP as usize);
        // A frame each: the caller's frame pointer, and where to return to.
        let (inner, middle) = (STACK_TOP - 12 * word, STACK_TOP - 6 * word);
        for (frame, next, back) in [(inner, middle, IN_MIDDLE), (middle, 0, IN_OUTER)] {
            let next = if next == 0 { 0 } else { kind.base() + next };
            put(&mut memory, frame, &kind.pointer(next));
            put(&mut memory, frame + word, &kind.pointer(kind.base() + back));
        }
        let mut head = vec![mode(kind), 1];
        for register in [IN_INNER, inner, inner] {
            head.extend((register as u16).to_le_bytes());
        }
        let named = |symbols: &[u64]| {
            let mut head = head.clone();
            head.extend(symbols.iter().flat_map(|address| (*address as u16).to_le_bytes()));
            head.resize(32, 0);
            head
        };
        if kind == Kind::Long {
            // Stretches of code: their frames lie so far above the stack pointer.
            let (outer, middle) = ((TEXT, 16, 0, 0, 1), (TEXT + 0x100, 48, 0, 5, 2));
            let inner = (TEXT + 0x200, 16, 0, 5, 2);
            let mut memory = memory.clone();
            put_orc(&mut memory, &[outer, middle, inner]);
            let symbols = code_symbols(3).map(|(_, address)| address);
            seeds.push(seed("orc", &[&named(&symbols), &memory]));
        }
        let name = format!("{kind:?}").to_lowercase();
        seeds.push(seed(name.clone(), &[&named(&[TEXT, TEXT + 0x1000]), &memory]));
        let mut scanned = named(&[]);
        scanned[6..8].fill(0);
        seeds.push(seed(format!("{name}-scan"), &[&scanned, &memory]));
    }
    Ok(seeds)
}

/// The logs that the tests have.
pub(crate) fn classify() -> anyhow::Result<Vec<Seed>> {
    let logs = Path::new(env!("CARGO_MANIFEST_DIR")).join("logs");
    let mut seeds = Vec::new();
    for file in fs::read_dir(&logs).context("the tests' logs")? {
        let path = file?.path();
        let Some(name) = path.file_stem().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        if path.is_file() {
            let log = fs::read(&path)?;
            let cuts = [40, 255, 7, 90, 128, 1, 200, 63];
            seeds.push(seed(name, &[&cuts, log.get(..15 << 10).unwrap_or(&log)]));
        }
    }
    Ok(seeds)
}
