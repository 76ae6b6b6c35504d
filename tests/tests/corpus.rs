//! The classifier against logs with known crashes.

use vmbisect_tests::corpus;

#[test]
fn the_corpus_is_classified_as_well_as_it_was() {
    let Some(directory) = corpus::find() else {
        println!("skipped: there is no corpus here; set VMBISECT_CORPUS to its directory");
        return;
    };
    let cases = corpus::reports(&directory).unwrap();
    assert!(cases.len() > 300, "{} cases in {}", cases.len(), directory.display());
    let mut score = corpus::score(&cases);
    corpus::score_guilty(&corpus::guilty(&directory).unwrap(), &mut score);
    let wanted = [
        ("title", 0.98),
        ("no false alarm", 1.0),
        ("alts", 0.97),
        ("kind", 0.97),
        ("corrupted", 0.97),
        ("suppressed", 0.97),
        ("panicked", 0.97),
        ("executor", 0.97),
        ("start", 1.0),
        ("report", 1.0),
        ("guilty file", 0.97),
    ];
    for (question, share) in wanted {
        let misses: Vec<_> = score.misses.iter().filter(|miss| miss.1 == question).collect();
        assert!(score.share(question) >= share, "{question}: {misses:#?}");
    }
}
