//! What a kernel says about itself to whoever reads its crash dump: a page of `KEY=value` lines
//! (`kernel/crash_core.c`, kernels with CONFIG_CRASH_CORE or CONFIG_VMCORE_INFO).

use std::collections::BTreeMap;

use crate::forensics::memory::AddressSpace;
use crate::forensics::symbols::KernelSymbols;

/// VMCOREINFO_BYTES: a page.
const SIZE: usize = 4096;

/// Every version of it begins with this.
const START: &[u8] = b"OSRELEASE=";

/// How much of the guest's memory is searched for it, in bytes.
const MOST_SEARCHED: u64 = 8 << 30;

/// No structure of the kernel's that is described there is larger.
const LARGEST_OFFSET: u64 = 1 << 16;

/// The lines.
#[derive(Debug)]
pub(super) struct VmCoreInfo(BTreeMap<String, String>);

impl VmCoreInfo {
    /// Where the symbol `vmcoreinfo_data` leads.
    pub(super) fn by_symbol(
        space: &AddressSpace<'_>,
        symbols: &KernelSymbols,
        slide: u64,
    ) -> Option<VmCoreInfo> {
        let pointer = symbols.get("vmcoreinfo_data")?.wrapping_add(slide);
        VmCoreInfo::parse(&space.array::<SIZE>(space.word(pointer)?)?)
    }

    /// The first page of the guest's memory that looks so.
    pub(super) fn search(space: &AddressSpace<'_>) -> Option<VmCoreInfo> {
        let mut page = [0; SIZE];
        let memory = space.memory();
        (0..memory.end().min(MOST_SEARCHED)).step_by(SIZE).find_map(|address| {
            let mut start = [0; START.len()];
            (memory.read(address, &mut start) && start == START && memory.read(address, &mut page))
                .then(|| VmCoreInfo::parse(&page))
                .flatten()
        })
    }

    fn parse(page: &[u8]) -> Option<VmCoreInfo> {
        let end = page.iter().position(|byte| *byte == 0).unwrap_or(page.len());
        let text = page.get(..end).filter(|text| text.starts_with(START))?;
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().filter_map(|line| line.split_once('='));
        // Enough to be one, not just a program's environment.
        let lines: BTreeMap<_, _> =
            lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        lines.contains_key("PAGESIZE").then_some(VmCoreInfo(lines))
    }

    /// `SYMBOL(name)=`: an address, in hexadecimal.
    pub(super) fn symbol(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.0.get(&format!("SYMBOL({name})"))?, 16).ok()
    }

    /// `OFFSET(name)=`, in bytes.
    pub(super) fn offset(&self, name: &str) -> Option<u64> {
        self.number(&format!("OFFSET({name})"))
    }

    /// `SIZE(name)=`, in bytes.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.number(&format!("SIZE({name})"))
    }

    fn number(&self, key: &str) -> Option<u64> {
        let number = self.0.get(key)?.parse().ok()?;
        (number <= LARGEST_OFFSET).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forensics::memory::IMAGE_START;
    use crate::forensics::memory::tests::{image_memory, long_mode};
    use crate::forensics::printk::{LogSource, read};

    #[test]
    fn lines_are_found_by_the_symbol_and_by_what_they_look_like() {
        let mut memory = image_memory(0x10000);
        let text = "OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(prb)=ffffffff80009000\n\
                    OFFSET(prb_desc.state_var)=0\nSIZE(prb_desc)=24\nSIZE(huge)=99999999\n";
        memory[0xa000..][..text.len()].copy_from_slice(text.as_bytes());
        memory[0x8000..0x8008].copy_from_slice(&(IMAGE_START + 0xa000).to_le_bytes());
        let space = AddressSpace::new(&memory, long_mode(0x1000));
        let symbols = KernelSymbols::collect(|name| {
            (name == "vmcoreinfo_data").then_some(IMAGE_START + 0x8000)
        });
        for info in [VmCoreInfo::by_symbol(&space, &symbols, 0), VmCoreInfo::search(&space)] {
            let info = info.unwrap();
            assert_eq!(info.symbol("prb"), Some(0xffff_ffff_8000_9000));
            assert_eq!(
                (info.offset("prb_desc.state_var"), info.size("prb_desc")),
                (Some(0), Some(24))
            );
            assert_eq!((info.size("huge"), info.symbol("log_buf")), (None, None));
        }
    }

    /// The buffer of an old kernel, which no search finds.
    #[test]
    fn an_old_kernels_log_is_read_by_it() {
        let mut memory = image_memory(0x10000);
        let text = "OSRELEASE=4.9.0\nPAGESIZE=4096\nSYMBOL(log_buf)=ffffffff80008000\n\
                    SYMBOL(log_buf_len)=ffffffff80008008\nSYMBOL(log_first_idx)=ffffffff8000800c\n\
                    SYMBOL(log_next_idx)=ffffffff80008010\nSIZE(printk_log)=16\n";
        memory[0xa000..][..text.len()].copy_from_slice(text.as_bytes());
        memory[0x8000..0x8008].copy_from_slice(&(IMAGE_START + 0xb000).to_le_bytes());
        memory[0x8008..0x8014].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0]);
        memory[0xb008..0xb00c].copy_from_slice(&[20, 0, 4, 0]);
        memory[0xb010..0xb014].copy_from_slice(b"text");
        let space = AddressSpace::new(&memory, long_mode(0x1000));
        let log = read(&space, &KernelSymbols::default(), 0).unwrap();
        assert_eq!((log.source, log.records[0].text.as_str()), (LogSource::VmCoreInfo, "text"));
    }
}
