//! What the outer machine boots from: a program of ours as PID 1, the kernel's modules, and
//! whatever else is to be there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use guest_init::cpio::Writer;

use super::kernel::OuterKernel;
use super::modules::{self, Module};
use super::program;
use super::{ProgramError, TcgError};

/// Where the modules lie, named so that their order is that of loading.
pub(crate) const MODULES: &str = "/modules";

/// The extension of the file with the parameters of the module beside it.
pub(crate) const PARAMETERS: &str = "parameters";

/// Modules that give the outer machine a KVM and the port.
const WANTED: [&str; 3] = ["kvm-amd", "virtio_pci", "virtio_console"];

/// The initramfs of an outer machine.
///
/// PID 1 is a program of the host's that calls [`outer_init`](super::super::outer_init); the
/// programs and files that are added lie where they lie on the host.
#[derive(Debug)]
pub struct OuterImage {
    modules: Vec<Module>,
    parameters: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl OuterImage {
    /// An image with `init`, its libraries, and the modules of `kernel` that KVM needs.
    ///
    /// # Errors
    /// Fails if the kernel lacks a module or `init` is no program that could run there.
    pub fn new(kernel: &OuterKernel, init: &Path) -> Result<OuterImage, TcgError> {
        let modules = modules::load_order(&kernel.modules, &WANTED)?;
        let mut image = OuterImage { modules, parameters: BTreeMap::new(), files: BTreeMap::new() };
        image.insert_program(Path::new("/init"), init)?;
        Ok(image)
    }

    /// Has a module be loaded with parameters, as insmod takes them.
    pub fn module_parameters(&mut self, module: &str, parameters: &str) {
        self.parameters.insert(module.to_owned(), parameters.to_owned());
    }

    /// Adds a program and its libraries.
    ///
    /// # Errors
    /// Fails if it can't be read or is no x86-64 program.
    pub fn program(&mut self, path: &Path) -> Result<(), TcgError> {
        Ok(self.insert_program(path, path)?)
    }

    /// Adds a file of the host's with its content.
    ///
    /// # Errors
    /// Fails if it can't be read.
    pub fn host_file(&mut self, path: &Path) -> Result<(), TcgError> {
        let content = std::fs::read(path)
            .map_err(|source| TcgError::Read { path: path.to_owned(), source })?;
        self.file(path, content);
        Ok(())
    }

    /// Adds a file.
    pub fn file(&mut self, path: impl Into<PathBuf>, content: Vec<u8>) {
        self.files.insert(path.into(), (0o644, content));
    }

    /// The bytes of the archive.
    ///
    /// # Errors
    /// Fails if a path or a file can't stand in an archive.
    pub fn build(&self) -> Result<Vec<u8>, TcgError> {
        let mut archive = Writer::new(Vec::new());
        for directory in ["/proc", "/sys", "/tmp"] {
            archive.directory(directory, 0o755)?;
        }
        // The kernel opens PID 1's standard streams before anything is mounted.
        archive.character_device("/dev/console", 0o600, 5, 1)?;
        archive.character_device("/dev/null", 0o666, 1, 3)?;
        for (path, (mode, content)) in &self.files {
            archive.file(&path.to_string_lossy(), *mode, content)?;
        }
        for (index, module) in self.modules.iter().enumerate() {
            let path = format!("{MODULES}/{index:02}-{}.ko", module.name);
            archive.file(&path, 0o644, &module.content)?;
            if let Some(parameters) = self.parameters.get(&module.name) {
                let path = format!("{MODULES}/{index:02}-{}.{PARAMETERS}", module.name);
                archive.file(&path, 0o644, parameters.as_bytes())?;
            }
        }
        Ok(archive.finish()?)
    }

    fn insert_program(&mut self, at: &Path, path: &Path) -> Result<(), ProgramError> {
        let program = program::read(path)?;
        self.files.insert(at.to_owned(), (0o755, program.content));
        for (path, content) in program.libraries {
            self.files.insert(path, (0o755, content));
        }
        Ok(())
    }
}
