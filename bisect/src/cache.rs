//! Where built and fetched things are kept between runs.

use std::ffi::OsString;
use std::path::PathBuf;

/// The environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "VMBISECT_CACHE";

/// `$VMBISECT_CACHE`, else `$XDG_CACHE_HOME/vmbisect`, else `~/.cache/vmbisect`, else a directory
/// of that name in the current one.
pub fn dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    resolve(set(CACHE_VARIABLE), set("XDG_CACHE_HOME"), set("HOME"))
}

fn resolve(own: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> PathBuf {
    if let Some(own) = own {
        return own.into();
    }
    let base =
        xdg.map(PathBuf::from).or_else(|| home.map(|home| PathBuf::from(home).join(".cache")));
    base.unwrap_or_default().join("vmbisect")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::resolve;

    #[test]
    fn own_variable_then_xdg_then_home() {
        let some = |value: &str| Some(value.into());
        assert_eq!(resolve(some("/a"), some("/b"), some("/c")), Path::new("/a"));
        assert_eq!(resolve(None, some("/b"), some("/c")), Path::new("/b/vmbisect"));
        assert_eq!(resolve(None, None, some("/c")), Path::new("/c/.cache/vmbisect"));
        assert_eq!(resolve(None, None, None), Path::new("vmbisect"));
    }
}
