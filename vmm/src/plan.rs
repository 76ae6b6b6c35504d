//! Whether a machine can be made as it was asked for, and where things go: all that can be told
//! before KVM is asked.

use crate::x86_64::layout;
use crate::{MachineConfig, StartError};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// Where things go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Where the initramfs lies, and its size.
    pub(crate) initramfs: Option<(u64, u64)>,
}

impl Plan {
    /// Checks `config` against what its kernel asks for.
    pub(crate) fn new(config: &MachineConfig) -> Result<Plan, StartError> {
        let given = config.memory;
        if !(layout::MIN_MEMORY..=layout::MAX_MEMORY).contains(&given) || !given.is_multiple_of(MIB)
        {
            return Err(StartError::MemorySize {
                asked: given,
                least: layout::MIN_MEMORY,
                most: layout::MAX_MEMORY,
            });
        }
        if config.vcpus == 0 || config.vcpus > layout::MAX_VCPUS {
            return Err(StartError::Vcpus { asked: config.vcpus, most: layout::MAX_VCPUS });
        }
        let kernel = config.kernel.requirements(config.boot)?;
        // The kernel and its initramfs belong below 4 GiB.
        let low = given.min(layout::HOLE);
        if kernel.end > low {
            return Err(StartError::TooLittleMemory { needed: kernel.end, given: low });
        }
        let length = config.command_line.len();
        let limit = kernel.cmdline_size.min(layout::COMMAND_LINE_ROOM - 1);
        if length > limit {
            return Err(StartError::CommandLineTooLong { length, limit });
        }
        if let Some(offset) = config.command_line.bytes().position(|byte| byte == 0) {
            return Err(StartError::CommandLineNul(offset));
        }
        let initramfs = match &config.initramfs {
            None => None,
            Some(initramfs) => {
                let size = initramfs.len() as u64;
                let top = low.min(kernel.initrd_addr_max.saturating_add(1));
                Some((place(size, kernel.end, top)?, size))
            }
        };
        Ok(Plan { initramfs })
    }
}

/// The highest page at which `size` bytes end below `top` and begin above `bottom`.
fn place(size: u64, bottom: u64, top: u64) -> Result<u64, StartError> {
    let start = top.checked_sub(size).map(|start| start - start % PAGE);
    match start {
        Some(start) if start >= bottom => Ok(start),
        _ => {
            let room = top.saturating_sub(bottom.next_multiple_of(PAGE));
            Err(StartError::InitramfsTooLarge { size, room })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initramfs_lies_as_high_as_it_can() {
        assert_eq!(place(1, 0, 0x1_0000).unwrap(), 0xf000);
        assert_eq!(place(0x1000, 0, 0x1_0000).unwrap(), 0xf000);
        assert_eq!(place(0x1001, 0, 0x1_0000).unwrap(), 0xe000);
        assert_eq!(place(0x8000, 0x8000, 0x1_0000).unwrap(), 0x8000);
    }

    #[test]
    fn too_large_an_initramfs_is_told_how_much_room_there_is() {
        for (size, bottom) in [(0x8001, 0x8000), (u64::MAX, 0), (1, 0x1_0000)] {
            let error = place(size, bottom, 0x1_0000).unwrap_err();
            let StartError::InitramfsTooLarge { room, .. } = error else { panic!("{error}") };
            assert_eq!(room, 0x1_0000 - bottom);
        }
    }
}
