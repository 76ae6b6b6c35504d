//! Who is told of what, by a small MAINTAINERS.

use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::{Maintainers, MaintainersError, section};
use crate::history::History;

const MAINTAINERS: &str = "\
List of maintainers
===================

Descriptions of section entries

	M: *Mail* patches to: FullName <address@domain>
	F: *Files* and directories wildcard patterns.

Maintainers List
----------------

3C59X NETWORK DRIVER
M:	Vortex Person <vortex@example.net>
L:	netdev@lists.test
S:	Odd Fixes
F:	drivers/net/ethernet/3com/3c59x.c

NETWORKING DRIVERS
M:	Net Person <net@example.net>
R:	Net Reviewer <review@example.net>
L:	netdev@lists.test
L:	net-internal@lists.test (subscribers-only)
S:	Maintained
F:	drivers/net/
X:	drivers/net/wireless/

FROBNICATION
M:	Frob Person <old@example.net>
L:	frob@lists.test (moderated for non-subscribers)
S:	Supported
N:	frob
K:	\\bfrobnicate[\\x20](now|later)\\b

THE REST
M:	Chief Penguin <chief@example.net>
L:	linux-kernel@lists.test
S:	Buried alive in reporters
F:	*
F:	*/
";

fn write(top: &Path, path: &str, text: &str) {
    let path = top.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "MAINTAINERS", MAINTAINERS);
    write(dir.path(), ".mailmap", "Frob Person <new@example.net> <old@example.net>\n");
    write(dir.path(), ".get_maintainer.ignore", "# not for me\nReview@example.net\n");
    write(dir.path(), "drivers/net/ethernet/3com/3c59x.c", "int x;\n");
    write(dir.path(), "drivers/net/wireless/w.c", "/* frobnicate later */\n");
    dir
}

fn addresses(list: &[super::Recipient]) -> Vec<&str> {
    list.iter().map(|it| it.address.split(['<', '>']).rfind(|it| !it.is_empty()).unwrap()).collect()
}

#[test]
fn the_most_special_section_comes_first_and_lists_last() {
    let tree = tree();
    let maintainers = Maintainers::in_directory(tree.path()).unwrap();
    let told = maintainers.of_file("drivers/net/ethernet/3com/3c59x.c");
    assert_eq!(
        addresses(&told.to),
        ["vortex@example.net", "net@example.net", "netdev@lists.test", "linux-kernel@lists.test"]
    );
    assert_eq!(told.to[2].why, ["list of 3C59X NETWORK DRIVER", "list of NETWORKING DRIVERS"]);
    assert!(told.cc.is_empty(), "the only reviewer does not want to be told: {told}");
    assert_eq!(
        told.to_string().lines().next(),
        Some("To: Vortex Person <vortex@example.net> (maintainer of 3C59X NETWORK DRIVER)")
    );
}

#[test]
fn names_keywords_and_exclusions() {
    let tree = tree();
    let maintainers = Maintainers::in_directory(tree.path()).unwrap();
    // Excluded from one, and a keyword of another; its maintainer has moved.
    let told = maintainers.of_file("drivers/net/wireless/w.c");
    let frob = ["new@example.net", "linux-kernel@lists.test", "frob@lists.test"];
    assert_eq!(addresses(&told.to), frob);
    let told = maintainers.of_file("lib/my_frob.c");
    assert_eq!(
        addresses(&told.to),
        ["new@example.net", "frob@lists.test", "linux-kernel@lists.test"]
    );
    assert_eq!(addresses(&maintainers.of_file("lib/other.c").to), ["linux-kernel@lists.test"]);
    assert_eq!(addresses(&maintainers.of_file("../../etc/passwd").to), ["linux-kernel@lists.test"]);
}

#[test]
fn a_tree_without_the_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Maintainers::in_directory(dir.path());
    assert!(matches!(refused, Err(MaintainersError::NoMaintainers { .. })));
}

const MESSAGE: &str = "net: Break it

It was fine.

Cc: stable@vger.kernel.org # v5.4+
Cc: Copied Person <copied@example.net>
Reported-by: syzbot <syzbot+1@syzkaller.appspotmail.com>
Reviewed-by: Net Reviewer <review@example.net>
Acked-by: Acking Person <ack@example.net>
Signed-off-by: Author Person <author@example.net>
Signed-off-by: Net Person <net@example.net>
";

#[test]
fn the_culprits_people_are_told_too() {
    let tree = tree();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=Author Person", "-c", "user.email=author@example.net"])
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(tree.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q", "."]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "all"]);
    write(tree.path(), "drivers/net/new.c", "int y;\n");
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", MESSAGE]);
    // What is in the directory now does not count.
    fs::remove_file(tree.path().join("MAINTAINERS")).unwrap();

    let history = History::open(tree.path()).unwrap();
    let culprit = history.resolve("HEAD").unwrap();
    assert_eq!(history.changed_files(culprit).unwrap(), ["drivers/net/new.c"]);
    let maintainers = Maintainers::at(&history, culprit).unwrap();
    let guilty = Some("drivers/net/ethernet/3com/3c59x.c");
    let told = maintainers.of_culprit(&history, culprit, guilty).unwrap();
    assert_eq!(
        addresses(&told.to),
        [
            "author@example.net",
            "vortex@example.net",
            "net@example.net",
            "netdev@lists.test",
            "linux-kernel@lists.test"
        ]
    );
    assert_eq!(told.to[2].why, ["signed off on the commit", "maintainer of NETWORKING DRIVERS"]);
    assert_eq!(addresses(&told.cc), ["copied@example.net", "ack@example.net"]);
}

proptest! {
    #[test]
    fn any_text_is_read(text in "([A-Z]:\t)?[ -~\n]{0,200}", path in "[a-z/.]{0,30}") {
        for section in section::parse(&text) {
            let _ = section.depth(&path, &text);
        }
    }
}
