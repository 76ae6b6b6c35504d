//! Source lines, from debug information.

use std::fmt;
use std::path::Path;

use addr2line::Loader;

use super::{Location, SymbolsError};
use crate::source_path::cleaned;

/// Functions that every kernel has, and where. The first of them that is found says where the tree
/// was when it was built.
const LANDMARKS: &[(&str, &str)] = &[
    ("start_kernel", "init/main.c"),
    ("panic", "kernel/panic.c"),
    ("schedule", "kernel/sched/core.c"),
];

/// The most functions that can be inlined into one another at one place; more are a loop in damaged
/// debug information.
const DEEPEST: usize = 256;

/// Debug information. Compilation units are read when something in them is looked for.
pub(super) struct Lines {
    loader: Loader,
    /// What stands before paths, with a `/` at its end.
    top: Option<String>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("top", &self.top).finish_non_exhaustive()
    }
}

impl Lines {
    /// Opens the debug information of an ELF file whose symbols are at `address_of`.
    pub(super) fn open(
        path: &Path,
        address_of: &dyn Fn(&str) -> Option<u64>,
    ) -> Result<Lines, SymbolsError> {
        let damaged = |reason: String| SymbolsError::DebugInfo { path: path.to_owned(), reason };
        let loader = Loader::new(path).map_err(|error| damaged(error.to_string()))?;
        let mut lines = Lines { loader, top: None };
        lines.top = LANDMARKS.iter().find_map(|(function, file)| {
            let frames = lines.frames(address_of(function)?, None);
            let path = frames.last()?.file.clone()?;
            Some(path.strip_suffix(file)?.to_owned()).filter(|top| top.ends_with('/'))
        });
        Ok(lines)
    }

    /// What stands before paths, with a `/` at its end.
    pub(super) fn top(&self) -> Option<&str> {
        self.top.as_deref()
    }

    /// The functions that an instruction belongs to, innermost first; none if the outermost is not
    /// the `expected` one.
    pub(super) fn frames(&self, address: u64, expected: Option<&str>) -> Vec<Location> {
        // What is damaged in one unit says nothing about the others; this place has no line.
        let Ok(mut frames) = self.loader.find_frames(address) else { return Vec::new() };
        let mut locations: Vec<Location> = Vec::new();
        while let (true, Ok(Some(frame))) = (locations.len() < DEEPEST, frames.next()) {
            let place = frame.location.as_ref();
            locations.push(Location {
                function: frame
                    .function
                    .as_ref()
                    .and_then(|name| Some(name.demangle().ok()?.into())),
                file: place.and_then(|place| place.file).map(|path| self.relative(path)),
                line: place.and_then(|place| place.line),
                inlined: true,
            });
        }
        if let Some(outermost) = locations.last_mut() {
            outermost.inlined = false;
            let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
            let (name, expected) = (outermost.function.as_deref().map(stem), expected.map(stem));
            if expected.is_some() && name != expected {
                locations.clear();
            }
        }
        locations
    }

    /// A path relative to the top of the kernel tree.
    fn relative(&self, path: &str) -> String {
        let path = cleaned(path);
        let top = self.top.as_deref().unwrap_or_default();
        path.strip_prefix(top).map(str::to_owned).unwrap_or(path)
    }
}
