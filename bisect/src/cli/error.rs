//! Errors as a user reads them: what was wrong, why, and what to do about it.

use std::fmt;
use std::io::Write;

use super::Output;

/// An error with a sentence that says what to do about it.
#[derive(Debug)]
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Hinted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// Adds a hint to whatever can fail.
pub(crate) trait WithHint<T> {
    /// Says, should it fail, what the user can do about it.
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithHint<T> for Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| anyhow::Error::new(Hinted { error: error.into(), hint: hint.into() }))
    }
}

/// Adds the hint that an error has.
pub(crate) fn told<T, E, H>(result: Result<T, E>, hint: impl Fn(&E) -> H) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
    H: Into<String>,
{
    result.or_else(|error| {
        let hint = hint(&error);
        Err(error).hint(hint)
    })
}

/// The error of this kind that it is or that caused it.
pub(crate) fn find<E: std::error::Error + Send + Sync + 'static>(
    error: &anyhow::Error,
) -> Option<&E> {
    error.chain().find_map(|cause| {
        let hinted = || cause.downcast_ref::<Hinted>()?.error.downcast_ref();
        cause.downcast_ref().or_else(hinted)
    })
}

/// The error and its causes, without the class and code that libgit2 gives each of its own.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let told = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<git2::Error>()
    {
        Some(git) => git.message().to_owned(),
        None => cause.to_string(),
    };
    error.chain().map(told).collect()
}

/// Prints the error, its causes and its hint on standard error, or as JSON on standard output.
pub(crate) fn print(error: &anyhow::Error, output: &Output) {
    let causes = causes(error);
    let hint = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()).map(|h| &h.hint);
    if output.json {
        let error = serde_json::json!({ "error": causes[0], "causes": causes[1..], "hint": hint });
        return output.line(error.to_string());
    }
    let hint = hint.map_or(String::new(), |hint| format!("hint: {hint}\n"));
    // The exit status says as much to whoever does not listen.
    let _ = write!(std::io::stderr(), "error: {}\n{hint}", causes.join(": "));
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{Hinted, WithHint, causes};

    #[test]
    fn what_libgit2_says_is_told_without_its_codes() {
        let git = git2::Error::from_str("revspec 'v9' not found");
        let error = Err::<(), _>(git).context("there is no commit named v9").unwrap_err();
        assert_eq!(causes(&error), ["there is no commit named v9", "revspec 'v9' not found"]);
    }

    #[test]
    fn a_hint_survives_context() {
        let io = std::io::Error::other("disk on fire");
        let error =
            Err::<(), _>(io).hint("put it out").context("can't write the journal").unwrap_err();
        assert_eq!(causes(&error), ["can't write the journal", "disk on fire"]);
        let hint = error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()).unwrap();
        assert_eq!(hint.hint, "put it out");
        assert!(super::find::<std::io::Error>(&error).is_some());
        assert!(super::find::<std::fmt::Error>(&error).is_none());
    }
}
