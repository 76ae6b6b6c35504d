//! Where the symbols of an image lie.

use std::path::{Path, PathBuf};

use vmm::KernelSymbols;

use super::Job;
use crate::symbols::Symbols;

impl Job {
    /// The same for another image, with the symbols that lie beside it.
    pub fn of_image(&self, kernel: &Path) -> Job {
        let job = Job { kernel: kernel.to_owned(), ..self.clone() };
        job.with_symbols(beside(kernel))
    }

    /// The same with symbols from this file. One that can't be read has none; a hang report says so.
    pub fn with_symbols(self, symbols: Option<PathBuf>) -> Job {
        let read = symbols.as_deref().and_then(|path| Symbols::open(path).ok());
        let kernel_symbols =
            read.map(|symbols| KernelSymbols::collect(|name| symbols.address_of(name)));
        Job { symbols, kernel_symbols: kernel_symbols.unwrap_or_default(), ..self }
    }
}

/// The file with an image's symbols: the image itself if it is a vmlinux that has them; else vmlinux or
/// System.map beside it, at the top of the build directory that it lies in, or where distributions
/// put them.
pub fn beside(image: &Path) -> Option<PathBuf> {
    if Symbols::open(image).is_ok() {
        return Some(image.to_owned());
    }
    let image = image.canonicalize().ok()?;
    let directory = image.parent()?;
    let mut candidates = vec![directory.join("vmlinux"), directory.join("System.map")];
    // Only arch/*/boot/ lies three below the top.
    if directory.ends_with("boot")
        && let Some(arch) = directory.parent().and_then(Path::parent)
        && arch.ends_with("arch")
        && let Some(top) = arch.parent()
    {
        candidates.extend([top.join("vmlinux"), top.join("System.map")]);
    }
    let name = image.file_name()?.to_string_lossy();
    if let Some(version) = name.strip_prefix("vmlinuz-") {
        candidates.push(Path::new("/usr/lib/debug/boot").join(format!("vmlinux-{version}")));
        candidates.push(directory.join(format!("System.map-{version}")));
    }
    candidates.into_iter().find(|path| path.is_file() && Symbols::open(path).is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::beside;
    use crate::trial::tests::job;

    const MAP: &str = "ffffffff81000000 T _stext\nffffffff81000600 D prb\n";

    #[test]
    fn symbols_are_found_beside_an_image_and_at_the_top_of_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().canonicalize().unwrap().join("arch/x86/boot");
        fs::create_dir_all(&boot).unwrap();
        let image = boot.join("bzImage");
        fs::write(&image, "not read").unwrap();
        assert_eq!(beside(&image), None);
        let top = boot.ancestors().nth(3).unwrap().join("System.map");
        fs::write(&top, MAP).unwrap();
        assert_eq!(beside(&image), Some(top));
        fs::write(boot.join("vmlinux"), "no symbols in here").unwrap();
        fs::write(boot.join("System.map"), MAP).unwrap();
        assert_eq!(beside(&image), Some(boot.join("System.map")));
        let job = job().of_image(&image);
        assert_eq!(job.kernel_symbols.get("prb"), Some(0xffff_ffff_8100_0600));
        assert_eq!(job.kernel_symbols.get("log_buf"), None);
        let distribution = boot.join("vmlinuz-6.1");
        fs::rename(&image, &distribution).unwrap();
        fs::rename(boot.join("System.map"), boot.join("System.map-6.1")).unwrap();
        fs::remove_file(boot.ancestors().nth(3).unwrap().join("System.map")).unwrap();
        assert_eq!(beside(&distribution), Some(boot.join("System.map-6.1")));
    }
}
