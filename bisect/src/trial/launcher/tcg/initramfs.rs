//! What the outer machine boots from: this program as PID 1, its libraries, the kernel's modules.

use std::path::Path;

use guest_init::cpio::{CpioError, Writer};

use super::modules::Module;
use super::program::Program;

/// Where the modules lie, named so that their order is that of loading.
pub(crate) const MODULES: &str = "/modules";

/// Builds the archive.
pub(super) fn build(program: &Program, modules: &[Module]) -> Result<Vec<u8>, CpioError> {
    let mut archive = Writer::new(Vec::new());
    for directory in ["/proc", "/sys", "/tmp"] {
        archive.directory(directory, 0o755)?;
    }
    // The kernel opens PID 1's standard streams before anything is mounted.
    archive.character_device("/dev/console", 0o600, 5, 1)?;
    archive.character_device("/dev/null", 0o666, 1, 3)?;
    archive.file("/init", 0o755, &program.content)?;
    for (path, content) in &program.libraries {
        archive.file(&text(path), 0o755, content)?;
    }
    for (index, module) in modules.iter().enumerate() {
        let path = format!("{MODULES}/{index:02}-{}.ko", module.name);
        archive.file(&path, 0o644, &module.content)?;
    }
    archive.finish()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
