use super::*;

fn step(outcome: StepOutcome) -> Result<Probe, String> {
    let steps = vec![StepReport { instruction: "int3".to_owned(), outcome }];
    Ok(Probe { steps, instructions_per_us: Some(1.0) })
}

#[test]
fn verdicts() {
    let ok = KvmState::Ok { api_version: 12 };
    let fails = step(StepOutcome::Fails { reason: "triple fault".to_owned() });
    assert_eq!(verdict(&ok, &[], Some(&step(StepOutcome::Works))), Verdict::RunsLinux);
    assert_eq!(verdict(&ok, &[], Some(&step(StepOutcome::NotOffered))), Verdict::RunsLinux);
    assert_eq!(
        verdict(&ok, &[], Some(&fails)),
        Verdict::CannotRunLinux { failed: "int3".to_owned(), reason: "triple fault".to_owned() }
    );
    let lacks = |required| Capability { name: "IRQCHIP".to_owned(), present: false, required };
    let works = step(StepOutcome::Works);
    assert_eq!(verdict(&ok, &[lacks(false)], Some(&works)), Verdict::RunsLinux);
    assert!(matches!(
        verdict(&ok, &[lacks(true)], Some(&works)),
        Verdict::CannotRunLinux { failed, .. } if failed == "KVM_CAP_IRQCHIP"
    ));
    for state in [
        KvmState::of_errno(libc::ENOENT),
        KvmState::of_errno(libc::EACCES),
        KvmState::of_errno(libc::ENODEV),
        KvmState::of_errno(libc::EBUSY),
    ] {
        assert!(matches!(verdict(&state, &[], None), Verdict::NoKvm { .. }), "{state:?}");
    }
}

#[test]
fn a_report_survives_json() {
    let report = inspect();
    println!("{report:#?}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<HostReport>(&json).unwrap(), report);
}

/// Whatever KVM this is, the parts of the report agree with each other.
#[test]
fn the_report_is_consistent() {
    let report = inspect();
    let Some(probe) = &report.probe else {
        println!("skipped: {}", report.verdict);
        return;
    };
    assert_eq!(probe.steps.len(), steps::steps().len());
    assert!(probe.instructions_per_us.is_some_and(|speed| speed > 0.0));
    let fails = |step: &StepReport| matches!(step.outcome, StepOutcome::Fails { .. });
    assert_eq!(probe.steps.iter().any(fails), report.verdict != Verdict::RunsLinux);
    assert_eq!(report.capabilities.iter().filter(|it| it.required && !it.present).count(), 0);
    assert!(report.max_vcpus.is_some_and(|count| count > 0));
    match report.backend.map(|backend| backend.module).as_deref() {
        // Hardware runs everything; the software KVM can't take a breakpoint at CPL0.
        Some("kvm_intel" | "kvm_amd") => assert_eq!(report.verdict, Verdict::RunsLinux),
        Some("kvm_pvm") => assert!(matches!(
            report.verdict,
            Verdict::CannotRunLinux { failed, .. } if failed.starts_with("int3")
        )),
        other => println!("no expectation for the backend {other:?}"),
    }
}

#[test]
fn what_no_guest_is_shown_is_hidden_where_it_is_offered() {
    let leaf = |ecx| kvm_bindings::kvm_cpuid_entry2 { function: 1, ecx, ..Default::default() };
    let names = |ecx| hidden(&CpuId::from_entries(&[leaf(ecx)]).unwrap());
    assert!(names(1 << 15).contains(&"pdcm".to_owned()));
    assert_eq!(names(0), [""; 0]);
}
