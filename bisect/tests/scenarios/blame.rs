//! What the crash itself says of who is to blame.

use vmbisect::history::CommitId;
use vmbisect::journal::Event;

use crate::world::{Ended, Repo, World};

/// Its stack names net.c and, below, a file that no commit touches.
const REPORT: &str = "WARNING: CPU: 1 PID: 100 at net.c:12 net_rx+0x12/0x40\n\
    CPU: 1 PID: 100 Comm: test Not tainted 6.1.0 #1\n\
    RIP: 0010:net_rx+0x12/0x40 net.c:12\n\
    Call Trace:\n \
    <TASK>\n \
    net_poll+0x10/0x20 net.c:99\n \
    sys_poll+0x10/0x20 poll.c:7\n \
    </TASK>\n\
    ---[ end trace 0000000000000000 ]---\n";

/// Three releases of 40 commits, v1.0 at "100", of which 113, 207 and 305 change net.c.
fn repo() -> Repo {
    let mut repo = Repo::empty();
    let mut tip: Option<String> = None;
    for release in 1..4 {
        for title in (0..40).map(|n| (100 * release + n).to_string()) {
            match (title.as_str(), &tip) {
                ("113" | "207" | "305", Some(tip)) => repo.rewrite(&title, tip, "net.c", &title),
                _ => drop(repo.commit(&title, &tip.iter().map(String::as_str).collect::<Vec<_>>())),
            }
            if title.ends_with("00") {
                repo.tag(&format!("v{release}.0"), &title);
            }
            tip = Some(title);
        }
    }
    repo
}

/// The commits that were favoured, each time.
fn favoured(repo: &Repo, ended: &Ended<'_>) -> Vec<Vec<String>> {
    let titles = |commits: &Vec<CommitId>| {
        let mut titles: Vec<String> = commits.iter().map(|&commit| repo.title(commit)).collect();
        titles.sort();
        titles
    };
    let of = |event: &Event| match event {
        Event::Favoured { commits, .. } => Some(titles(commits)),
        _ => None,
    };
    ended.records.iter().filter_map(|record| of(&record.event)).collect()
}

/// What it points at is asked again of each older range, where the cause is likelier to be.
#[test]
fn commits_that_touch_files_of_the_crash() {
    let repo = repo();
    let bisect = |report: &str, by_crash: bool| {
        let world = World::plain(&repo, repo.since(&["113"]), Default::default()).reporting(report);
        let ended = match by_crash {
            true => world.bisect_by_crash_from("339"),
            false => world.bisect_from("339"),
        };
        assert_eq!(ended.named().0, "113", "{}", ended.report());
        let builds = world.builds.lock().unwrap().len();
        (favoured(&repo, &ended), builds)
    };
    let (named, builds) = bisect(REPORT, true);
    assert_eq!(named, [&["305"][..], &["207", "305"], &["113", "207", "305"]]);
    let (named, without) = bisect(REPORT, false);
    assert!(named.is_empty(), "{named:?}");
    assert!(builds + 2 <= without, "{builds} builds, and {without} where the crash does not count");
    // A report that names no file points at nobody.
    let bare = REPORT.replace(".c:", " ");
    let (named, builds) = bisect(&bare, true);
    assert_eq!(named, [[""; 0]; 3]);
    assert_eq!(builds, without);
}
