//! Every compression that a kernel can have, by the commands of its build (`scripts/Makefile.lib`).

use std::fs::File;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::kernel::payload;

/// The kernel's commands; all but gzip get the size appended.
const COMMANDS: [(&str, &[&str]); 7] = [
    ("gzip", &["-n", "-f", "-9"]),
    ("bzip2", &["-9"]),
    ("lzma", &["-9"]),
    ("xz", &["--check=crc32", "--x86", "--lzma2=,dict=32MiB"]),
    ("lzop", &["-9"]),
    ("lz4", &["-l", "-9", "-", "-"]),
    ("zstd", &["-22", "--ultra"]),
];

/// An ELF of `size` bytes that is partly like code, with the calls that xz's filter looks for,
/// partly zero and partly random, which can't be compressed.
fn varied_elf(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut data = Vec::with_capacity(size);
    while data.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match data.len() >> 16 & 3 {
            0 => data.extend_from_slice(&[0x48, 0x89, 0xc7, 0xe8, state as u8, 0x10, 0, 0]),
            1 => data.extend_from_slice(&[0; 8]),
            2 => data.extend_from_slice(&state.to_le_bytes()),
            _ => data.extend_from_slice(&(state & 0x0303_0303).to_le_bytes()),
        }
    }
    data.truncate(size);
    elf(BASE, &[Segment { address: BASE, size: size as u64, data }])
}

/// What the tool makes of `elf`; none, and a word why, if it isn't installed.
fn compress(tool: &str, options: &[&str], elf: &[u8]) -> Option<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(elf).unwrap();
    let output = Command::new(tool)
        .args(options)
        .stdin(Stdio::from(File::open(file.path()).unwrap()))
        .stderr(Stdio::inherit())
        .output();
    let mut payload = match output {
        Ok(output) => {
            assert!(output.status.success(), "{tool}");
            output.stdout
        }
        Err(error) => {
            println!("skipped: {tool} can't be run: {error}");
            return None;
        }
    };
    if tool != "gzip" {
        payload.extend_from_slice(&(elf.len() as u32).to_le_bytes());
    }
    Some(payload)
}

#[test]
fn every_format_that_a_kernel_build_makes() {
    for (tool, options) in COMMANDS {
        // LZ4's blocks are of 8 MiB, lzop's of 256 KiB.
        for size in [100, (1 << 20) + 77, if tool == "lz4" { (17 << 20) + 1 } else { 256 << 10 }] {
            let elf = varied_elf(size);
            let Some(payload) = compress(tool, options, &elf) else { continue };
            let kernel = Kernel::from_bytes(BzImage::new(payload).build()).unwrap();
            assert!(loaded(&kernel, size) == elf[4096..], "{tool}, {size} bytes");
            let compression = kernel.compression().unwrap().unwrap().to_string();
            assert_eq!(compression, if tool == "lzop" { "lzo" } else { tool });
        }
    }
}

/// Without the image's checksum around it, the payload alone.
#[test]
fn damaged_payloads_never_panic() {
    for (tool, options) in COMMANDS {
        let elf = varied_elf(300_000);
        let Some(whole) = compress(tool, options, &elf) else { continue };
        let flips = proptest::collection::vec((0..whole.len(), 1_u8..), 1..4);
        TestRunner::new(ProptestConfig::with_cases(60))
            .run(&(flips, 0..=whole.len()), |(flips, length)| {
                let mut payload = whole.clone();
                for (at, flip) in flips {
                    payload[at] ^= flip;
                }
                let _ = payload::decompress(&payload, 32 << 20);
                payload.truncate(length);
                let _ = payload::decompress(&payload, 32 << 20);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn lzo_agrees_with_another_implementation() {
    for size in [0, 1, 3, 4, 17, 238, 239, 300, 5000, 200_000] {
        let data = varied_elf(200_000).split_off(4096).into_iter().take(size).collect::<Vec<_>>();
        if data.is_empty() {
            continue;
        }
        let compressed = lzokay_native::compress(&data).unwrap();
        let mut out = Vec::new();
        crate::kernel::lzo::lzo1x(&compressed, data.len(), &mut out).unwrap();
        assert!(out == data, "{size}");
    }
}

proptest! {
    #[test]
    fn lzo_of_any_bytes(
        data in proptest::collection::vec(any::<u8>(), 1..3000),
        repeats in 1_usize..20,
    ) {
        let data = data.repeat(repeats);
        let compressed = lzokay_native::compress(&data).unwrap();
        let mut out = Vec::new();
        crate::kernel::lzo::lzo1x(&compressed, data.len(), &mut out).unwrap();
        prop_assert!(out == data);
    }

    #[test]
    fn lzo_of_anything_else(input in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut out = Vec::new();
        let _ = crate::kernel::lzo::lzo1x(&input, 4096, &mut out);
        prop_assert!(out.len() <= 4096);
    }
}
