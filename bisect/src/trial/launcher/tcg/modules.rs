//! The outer kernel's modules, in the order in which they are loaded.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};
use thiserror::Error;

/// Why a module is not there or not usable.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// The directory can't be searched.
    #[error("can't read {path}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No such module, and it is not built in.
    #[error("there is no module {name} under {directory}")]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The file is not a module.
    #[error("{path} is not a kernel module")]
    NotAModule {
        /// Which file.
        path: PathBuf,
    },
}

/// A module, decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// As the kernel calls it, with underscores.
    pub(super) name: String,
    /// The ELF file.
    pub(super) content: Vec<u8>,
}

/// The modules `wanted` and what they depend on under `directory` (a `lib/modules/VERSION`), the
/// ones that others need first.
///
/// `modules.dep` is made when a package is installed, so an unpacked one has none: what a module
/// depends on is read from the module itself, as depmod does.
pub(super) fn load_order(directory: &Path, wanted: &[&str]) -> Result<Vec<Module>, ModuleError> {
    let mut files = HashMap::new();
    find(directory, &mut files)?;
    let builtin = builtin(directory)?;
    let mut order = Vec::new();
    let mut done = HashSet::new();
    // A stack instead of recursion: a broken module could name itself.
    let mut stack: Vec<(String, Option<Module>)> =
        wanted.iter().rev().map(|name| (canonical(name), None)).collect();
    while let Some((name, loaded)) = stack.pop() {
        if let Some(module) = loaded {
            order.push(module);
            continue;
        }
        if !done.insert(name.clone()) || builtin.contains(&name) {
            continue;
        }
        let path = files.get(&name).ok_or_else(|| ModuleError::Missing {
            name: name.clone(),
            directory: directory.to_owned(),
        })?;
        let content = read(path)?;
        let depends =
            depends(&content).ok_or_else(|| ModuleError::NotAModule { path: path.clone() })?;
        stack.push((name.clone(), Some(Module { name, content })));
        stack.extend(depends.into_iter().rev().map(|name| (name, None)));
    }
    Ok(order)
}

/// Module names are written with dashes and with underscores.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|e| file.strip_suffix(e))?;
    Some(canonical(stem))
}

fn find(directory: &Path, files: &mut HashMap<String, PathBuf>) -> Result<(), ModuleError> {
    let failed = |source| ModuleError::Io { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // Links (`build`, `source`) lead out of the directory.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            find(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn builtin(directory: &Path) -> Result<HashSet<String>, ModuleError> {
    let path = directory.join("modules.builtin");
    match std::fs::read_to_string(&path) {
        Ok(list) => Ok(list.lines().filter_map(|line| module_name(Path::new(line))).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(source) => Err(ModuleError::Io { path, source }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let failed = |source| ModuleError::Io { path: path.to_owned(), source };
    let raw = std::fs::read(path).map_err(failed)?;
    let mut content = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => {
            liblzma::read::XzDecoder::new(&raw[..]).read_to_end(&mut content).map_err(failed)?
        }
        Some("zst") => ruzstd::decoding::StreamingDecoder::new(&raw[..])
            .map_err(|error| failed(io::Error::other(error)))?
            .read_to_end(&mut content)
            .map_err(failed)?,
        Some("gz") => {
            flate2::read::GzDecoder::new(&raw[..]).read_to_end(&mut content).map_err(failed)?
        }
        _ => return Ok(raw),
    };
    Ok(content)
}

/// What `depends=` in the module's `.modinfo` section names.
fn depends(content: &[u8]) -> Option<Vec<String>> {
    let file = object::File::parse(content).ok()?;
    let info = file.section_by_name(".modinfo")?.data().ok()?;
    let list = info.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let list = std::str::from_utf8(list.unwrap_or_default()).ok()?;
    Some(list.split(',').filter(|name| !name.is_empty()).map(canonical).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use object::write::Object;
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    use super::{ModuleError, load_order};

    fn module(directory: &Path, name: &str, depends: &str) {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section = object.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::Other);
        let info = format!("license=GPL\0depends={depends}\0name={name}\0");
        object.append_section_data(section, info.as_bytes(), 1);
        std::fs::write(directory.join(name), object.write().unwrap()).unwrap();
    }

    fn names(directory: &Path, wanted: &[&str]) -> Result<Vec<String>, ModuleError> {
        let order = load_order(directory, wanted)?;
        Ok(order.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let deeper = directory.path().join("kernel/arch");
        std::fs::create_dir_all(&deeper).unwrap();
        module(&deeper, "kvm.ko", "irqbypass");
        module(&deeper, "kvm-amd.ko", "kvm,ccp");
        module(directory.path(), "irqbypass.ko", "");
        module(directory.path(), "virtio_console.ko", "virtio-ring,virtio");
        module(directory.path(), "virtio_ring.ko", "virtio");
        module(directory.path(), "virtio.ko", "");
        std::fs::write(directory.path().join("modules.builtin"), "kernel/crypto/ccp.ko\n").unwrap();
        assert_eq!(
            names(directory.path(), &["kvm-amd", "virtio_console"]).unwrap(),
            ["irqbypass", "kvm", "kvm_amd", "virtio", "virtio_ring", "virtio_console"]
        );
    }

    #[test]
    fn a_circle_ends_and_a_hole_is_named() {
        let directory = tempfile::tempdir().unwrap();
        module(directory.path(), "a.ko", "b");
        module(directory.path(), "b.ko", "a,missing");
        let Err(ModuleError::Missing { name, .. }) = names(directory.path(), &["a"]) else {
            panic!("found a module that is not there");
        };
        assert_eq!(name, "missing");
        module(directory.path(), "b.ko", "a");
        assert_eq!(names(directory.path(), &["a"]).unwrap(), ["b", "a"]);
        std::fs::write(directory.path().join("c.ko"), "no ELF file").unwrap();
        let broken = names(directory.path(), &["c"]);
        assert!(matches!(broken, Err(ModuleError::NotAModule { .. })));
    }
}
