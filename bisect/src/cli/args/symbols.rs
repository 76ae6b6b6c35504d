//! What reports are explained with.

use std::path::{Path, PathBuf};

use clap::Args;
use vmbisect::crash::Crash;
use vmbisect::maintainers::{Maintainers, MaintainersError, Recipients};
use vmbisect::symbols::{Symbolizer, Symbols, SymbolsError};
use vmbisect::trial::symbols_beside;

use crate::cli::WithHint;
use crate::cli::output::Output;

/// What reports are explained with: source lines, and who to tell.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Symbols")]
pub(crate) struct SymbolsArgs {
    /// The vmlinux of the kernel that crashed, or its System.map: reports get source lines, and the
    /// file to blame is known
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    /// The tree of the kernel that crashed: its MAINTAINERS says who to tell; a vmlinux at its top and
    /// modules below it are used
    #[arg(long, value_name = "DIR")]
    kernel_dir: Option<PathBuf>,
}

/// What reports are explained with, opened.
#[derive(Default)]
pub(crate) struct Explainer {
    symbolizer: Option<Symbolizer>,
    maintainers: Option<Maintainers<'static>>,
}

/// The file with the symbols of `image`: the one that was named, else one that lies beside the image.
pub(crate) fn symbols_of(image: &Path, named: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let Some(path) = named else { return Ok(symbols_beside(image)) };
    let opened = Symbols::open(path);
    let hint = opened.as_ref().err().map(SymbolsError::hint).unwrap_or_default();
    opened.hint(hint)?;
    Ok(Some(path.to_owned()))
}

impl SymbolsArgs {
    /// The file with the kernel's symbols that was named.
    pub(crate) fn vmlinux(&self) -> Option<&Path> {
        self.vmlinux.as_deref()
    }

    /// Opens the files that were named and, where no vmlinux was, the one of an image: the image
    /// itself, the one beside it, as a store keeps it, or the one at the top of its build directory.
    pub(crate) fn open_for(&self, image: &Path, output: &Output) -> anyhow::Result<Explainer> {
        let mut explainer = self.open(output)?;
        if explainer.symbolizer.is_none() {
            let top = image.parent().and_then(|boot| boot.parent()?.parent()?.parent());
            let places = [Some(image), image.parent(), top].into_iter().flatten();
            let paths = places.map(|place| match place.is_dir() {
                true => place.join("vmlinux"),
                false => place.to_owned(),
            });
            // Nobody asked for it, so what is wrong with it is not told.
            let symbols = paths.filter_map(|path| Symbols::open(&path).ok());
            let mut symbols = symbols.filter(|symbols| symbols.has_lines().is_ok_and(|it| it));
            explainer.symbolizer = symbols.next().map(|symbols| self.with_modules(symbols));
        }
        Ok(explainer)
    }

    /// Opens the files that were named.
    pub(crate) fn open(&self, output: &Output) -> anyhow::Result<Explainer> {
        let in_tree = self.kernel_dir.as_ref().map(|dir| dir.join("vmlinux"));
        let in_tree = in_tree.filter(|path| path.is_file());
        let path = self.vmlinux.clone().or(in_tree);
        let symbolizer = match path {
            Some(path) => Some(self.symbolizer(&path, output)?),
            None => None,
        };
        let maintainers = match &self.kernel_dir {
            // A directory that only things were built in is worth its symbols.
            Some(dir) => match Maintainers::in_directory(dir) {
                Err(MaintainersError::NoMaintainers { .. }) if symbolizer.is_some() => None,
                opened => {
                    let hint =
                        opened.as_ref().err().map(MaintainersError::hint).unwrap_or_default();
                    Some(opened.hint(hint)?)
                }
            },
            None => None,
        };
        Ok(Explainer { symbolizer, maintainers })
    }

    fn symbolizer(&self, path: &Path, output: &Output) -> anyhow::Result<Symbolizer> {
        let opened = Symbols::open(path);
        let hint = opened.as_ref().err().map(SymbolsError::hint).unwrap_or_default();
        let symbols = opened.hint(hint)?;
        match symbols.has_lines() {
            Ok(true) => {}
            Ok(false) => output.note(format!(
                "{} has no debug information, so that there are no source lines; build the kernel \
                 with CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y",
                path.display()
            )),
            Err(error) => output.note(format!("no source lines: {error}; {}", error.hint())),
        }
        Ok(self.with_modules(symbols))
    }

    fn with_modules(&self, symbols: Symbols) -> Symbolizer {
        let symbolizer = Symbolizer::new(symbols);
        match &self.kernel_dir {
            Some(dir) => symbolizer.with_modules(dir),
            None => symbolizer,
        }
    }
}

impl Explainer {
    /// Puts source lines into a crash of a kernel that was loaded `offset` bytes above where it was
    /// linked to, and says so if the symbols are another kernel's.
    pub(crate) fn symbolize(&self, crash: &mut Crash, offset: u64, output: &Output) {
        let Some(symbolizer) = &self.symbolizer else { return };
        let done = symbolizer.crash(crash, offset);
        if done.found == 0
            && !done.unknown.is_empty()
            && symbolizer.kernel().has_lines().is_ok_and(|it| it)
        {
            output.note(format!(
                "{} has none of the functions in the report of {:?}, such as {}: it is not the kernel \
                 that printed it",
                symbolizer.kernel().path().display(),
                crash.title,
                done.unknown.first().map_or("", String::as_str),
            ));
        }
    }

    /// Who to tell of a crash: `None` where the tree is not there or the file to blame not known.
    pub(crate) fn recipients(&self, crash: &Crash) -> Option<Recipients> {
        let told = self.maintainers.as_ref()?.of_file(crash.guilty_file.as_deref()?);
        (!told.is_empty()).then_some(told)
    }
}
