//! The files of a source: of a directory, and of an archive.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ImportError;
use super::stream::Stream;

/// Calls `each` for every file and symbolic link below `dir`, in the order of their names; what
/// git keeps in `.git` is none.
pub(super) fn walk(
    dir: &Path,
    each: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let mut entries: Vec<PathBuf> =
        dir.read_dir()?.map(|entry| entry.map(|it| it.path())).collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let data = path.symlink_metadata()?;
        if data.is_dir() {
            if path.file_name().is_some_and(|name| name != ".git") {
                walk(&path, each)?;
            }
        } else if data.is_file() || data.is_symlink() {
            each(&path, &data)?;
        }
    }
    Ok(())
}

/// The mode that git keeps of a file.
pub(super) fn mode(symlink: bool, permissions: u32) -> &'static str {
    match (symlink, permissions & 0o100 != 0) {
        (true, _) => "120000",
        (false, true) => "100755",
        (false, false) => "100644",
    }
}

/// Hands every file of a tar archive over, with `strip` directories cut from its name.
pub(super) fn unpack(
    archive: impl Read,
    strip: usize,
    path: &Path,
    stream: &mut Stream<'_>,
) -> Result<(), ImportError> {
    let read = |source| ImportError::Read { path: path.to_owned(), source };
    let mut archive = tar::Archive::new(archive);
    let mut content = Vec::new();
    for entry in archive.entries().map_err(read)? {
        let mut entry = entry.map_err(read)?;
        let name: PathBuf = entry.path().map_err(read)?.components().skip(strip).collect();
        let kind = entry.header().entry_type();
        content.clear();
        if kind.is_symlink() {
            let target = entry.link_name_bytes();
            content.extend_from_slice(target.as_deref().unwrap_or_default());
        } else if kind.is_file() {
            entry.read_to_end(&mut content).map_err(read)?;
        } else {
            continue;
        }
        let mode = mode(kind.is_symlink(), entry.header().mode().map_err(read)?);
        stream.file(&name, mode, &content)?;
    }
    Ok(())
}
