//! The report of a guest that hangs: what each vCPU was doing, with names.
//!
//! It is written where the symbols are, which need not be where the machine ran, and read by the
//! classifier like any other report.

use std::fmt::Write;

use vmm::forensics::{Frame, FrameSource};
use vmm::{Ending, HangKind, MpState, Summary, VcpuState};

use super::{Job, SeenCrash, TitleCount, TrialReport, UnseenLog};
use crate::crash::{Phase, classify, hangs_in, interrupted, waits_for_another};
use crate::symbols::{Symbolizer, Symbols};

/// Lines of the kernel's log that a report ends with.
const LOG_LINES: usize = 40;

impl TrialReport {
    /// What is known of the machine's end beyond what its console showed, for people: the report of a
    /// hang, or the last lines of the kernel's log that were not on the console. Empty if there is
    /// nothing.
    pub fn beyond_console(&self) -> String {
        let mut text = String::new();
        let hung = |machine: &Summary| matches!(machine.ending, Ending::Hang { .. });
        match self.crashes.last().filter(|_| self.machine.as_ref().is_some_and(hung)) {
            Some(hang) => text.extend(["\n", &*hang.crash.report]),
            None => write_log(&mut text, self.unseen_log.as_ref()),
        }
        text
    }
}

/// Adds the report of a hang, if the machine ended as one, and decides anew what the trial says.
pub(super) fn conclude(job: &Job, mut report: TrialReport) -> TrialReport {
    let Some(machine) = report.machine.as_ref() else { return report };
    let Ending::Hang { kind } = machine.ending else { return report };
    let symbols = match machine.symbols_fit {
        // Names of another kernel's functions are worse than none.
        Some(false) => None,
        _ => job.symbols.as_deref().and_then(|path| Symbols::open(path).ok()),
    };
    let mut text = write(job, machine, kind, symbols.as_ref(), report.unseen_log.as_ref());
    if let Some(symbols) = symbols {
        text = Symbolizer::new(symbols).report(&text, 0).text;
    }
    let Some(mut crash) = classify(text.as_bytes()).into_iter().next() else { return report };
    crash.report = text;
    // It is behind all that was printed.
    (crash.start, crash.end) = (machine.console_bytes, machine.console_bytes);
    let reached = report.milestones.iter().map(|(milestone, _)| *milestone).max();
    let phase = match reached {
        Some(vmm::Milestone::WorkloadStarted) => Phase::Workload,
        _ => Phase::Boot,
    };
    report.outcome = report.decide(job, &report.crashes, Some(&crash));
    report.crashes_seen += 1;
    match report.titles.iter_mut().find(|counted| counted.title == crash.title) {
        Some(counted) => counted.count += 1,
        None => report.titles.push(TitleCount { title: crash.title.clone(), count: 1 }),
    }
    report.crashes.push(SeenCrash { phase, at_us: machine.wall_us, crash });
    report
}

/// A vCPU, and where it is.
struct Seen<'a> {
    vcpu: &'a VcpuState,
    /// The functions that have names, from the innermost outwards, without the interrupt that it was met
    /// in if that is not to blame.
    stack: Vec<String>,
}

impl Seen<'_> {
    /// How much it tells of why the machine hangs, the most first: it runs and does not come back; it
    /// sleeps for ever; it waits for one that does either.
    fn rank(&self) -> u8 {
        let stack = self.stack.iter().map(String::as_str);
        let sleeps = self.vcpu.mp_state != MpState::Running;
        match (self.vcpu.spins, sleeps && !self.vcpu.registers.interrupts_on()) {
            (true, _) if !waits_for_another(stack) => 0,
            (_, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
        }
    }
}

/// The vCPUs that were started, those first that tell most.
fn in_order<'a>(
    vcpus: &'a [VcpuState],
    kind: HangKind,
    symbols: Option<&Symbols>,
) -> Vec<Seen<'a>> {
    let started = vcpus.iter().filter(|vcpu| vcpu.mp_state != MpState::NotStarted);
    let mut seen: Vec<Seen> = started
        .map(|vcpu| {
            let named = |frame| Some(name(frame, symbols?)?.0);
            let names: Vec<String> = vcpu.backtrace.iter().filter_map(named).collect();
            // Who spins with interrupts on is not to be blamed on the interrupt that it was met in.
            let stack = match kind {
                HangKind::SpinningInterruptsOn if !vcpu.registers.interrupts_on() => {
                    interrupted(&names).to_vec()
                }
                _ => names,
            };
            Seen { vcpu, stack }
        })
        .collect();
    seen.sort_by_key(|seen| (seen.rank(), seen.vcpu.vcpu));
    seen
}

fn write(
    job: &Job,
    machine: &Summary,
    kind: HangKind,
    symbols: Option<&Symbols>,
    log: Option<&UnseenLog>,
) -> String {
    let vcpus = in_order(&machine.vcpus, kind, symbols);
    let blamed = vcpus.iter().find_map(|seen| hangs_in(seen.stack.iter().map(String::as_str)));
    let mut text = String::from("vmbisect: hang");
    if let Some(function) = blamed {
        let _ = write!(text, " in {function}");
    }
    let silent = machine.silent_us / 1_000_000;
    let _ = writeln!(text, ": {kind}, silent for {silent} s");
    for seen in vcpus {
        let _ = writeln!(text);
        write_vcpu(&mut text, seen.vcpu, symbols);
    }
    let never: Vec<String> = machine
        .vcpus
        .iter()
        .filter(|vcpu| vcpu.mp_state == MpState::NotStarted)
        .map(|vcpu| vcpu.vcpu.to_string())
        .collect();
    if !never.is_empty() {
        let _ = writeln!(text, "\nNot started by the guest: vCPU {}", never.join(", "));
    }
    let _ = writeln!(text, "\n{}", about_symbols(job, machine, symbols));
    write_log(&mut text, log);
    if !machine.nmi_lines.is_empty() {
        let _ = writeln!(text, "\nWhat the guest said when each of its vCPUs got an NMI:");
        machine.nmi_lines.iter().for_each(|line| text.extend(["  | ", line, "\n"]));
    }
    text
}

fn about_symbols(job: &Job, machine: &Summary, symbols: Option<&Symbols>) -> String {
    match (&job.symbols, symbols) {
        (_, Some(symbols)) => format!("Symbols: {}", symbols.path().display()),
        (Some(path), None) if machine.symbols_fit == Some(false) => {
            format!("Symbols: none, {} is of another kernel", path.display())
        }
        (Some(path), None) => match Symbols::open(path) {
            Err(error) => format!("Symbols: none, {error}"),
            Ok(_) => "Symbols: none".to_owned(),
        },
        (None, None) => {
            "Symbols: none; give vmlinux or System.map with --vmlinux, or put one of them \
                         beside the image"
                .to_owned()
        }
    }
}

fn write_vcpu(text: &mut String, vcpu: &VcpuState, symbols: Option<&Symbols>) {
    let state = match vcpu.mp_state {
        MpState::Running => "running".to_owned(),
        MpState::Halted => "halted".to_owned(),
        MpState::NotStarted => "not started".to_owned(),
        MpState::Other(state) => format!("in MP state {state}"),
    };
    let regs = &vcpu.registers;
    let _ = writeln!(
        text,
        "vCPU {}: {state}{}, interrupts {}, {} requested, {} in service, {} exits",
        vcpu.vcpu,
        if regs.is_user() { " in user mode" } else { "" },
        if regs.interrupts_on() { "on" } else { "off" },
        vcpu.interrupts_requested,
        vcpu.interrupts_in_service,
        vcpu.exits,
    );
    let place = Frame { address: regs.rip, source: FrameSource::Register };
    let place = describe(vcpu.backtrace.first().unwrap_or(&place), symbols);
    // Each as the kernel itself would print them.
    if regs.is_long_mode() {
        let _ = writeln!(text, "RIP: {:04x}:{place}", regs.cs);
        let _ = writeln!(text, "RSP: {:016x} EFLAGS: {:08x}", regs.rsp, regs.rflags);
        let rows = [
            [("RAX", regs.rax), ("RBX", regs.rbx), ("RCX", regs.rcx)],
            [("RDX", regs.rdx), ("RSI", regs.rsi), ("RDI", regs.rdi)],
            [("RBP", regs.rbp), ("R08", regs.r8), ("R09", regs.r9)],
            [("R10", regs.r10), ("R11", regs.r11), ("R12", regs.r12)],
            [("R13", regs.r13), ("R14", regs.r14), ("R15", regs.r15)],
            [("CR2", regs.cr2), ("CR3", regs.cr3), ("CR4", regs.cr4)],
        ];
        for row in rows {
            let row = row.map(|(name, value)| format!("{name}: {value:016x}"));
            let _ = writeln!(text, "{}", row.join(" "));
        }
    } else {
        let _ = writeln!(text, "EIP: {place}");
        let _ = writeln!(text, "CS: {:04x} EFLAGS: {:08x}", regs.cs, regs.rflags);
        let rows = [
            [("EAX", regs.rax), ("EBX", regs.rbx), ("ECX", regs.rcx), ("EDX", regs.rdx)],
            [("ESI", regs.rsi), ("EDI", regs.rdi), ("EBP", regs.rbp), ("ESP", regs.rsp)],
            [("CR0", regs.cr0), ("CR2", regs.cr2), ("CR3", regs.cr3), ("CR4", regs.cr4)],
        ];
        for row in rows {
            let row = row.map(|(name, value)| format!("{name}: {:08x}", value & 0xffff_ffff));
            let _ = writeln!(text, "{}", row.join(" "));
        }
    }
    // As in the kernel's own reports, the instruction pointer is not said again: what stands in a trace
    // is returned to, and its line that of the call before.
    let callers = vcpu.backtrace.get(1..).unwrap_or_default();
    if !callers.is_empty() {
        let _ = writeln!(text, "Call Trace:");
    }
    for frame in callers {
        let questionable = if frame.source == FrameSource::Scan { "? " } else { "" };
        let _ = writeln!(text, " {questionable}{}", describe(frame, symbols));
    }
    let how = |source| vcpu.backtrace.iter().any(|frame| frame.source == source);
    if how(FrameSource::Scan) {
        let _ =
            writeln!(text, " (? = found by a scan of the stack, may be left from earlier calls)");
    }
}

fn write_log(text: &mut String, log: Option<&UnseenLog>) {
    let Some(log) = log else { return };
    if let Some(problem) = log.problem {
        let _ = writeln!(text, "The kernel's log in memory was not read: {problem}");
    }
    let lines = log.lines.iter().skip(log.lines.len().saturating_sub(LOG_LINES));
    for (index, line) in lines.enumerate() {
        if index == 0 {
            let _ = writeln!(
                text,
                "\nThe last lines of the kernel's log that its console did not show:"
            );
        }
        text.extend(["  | ", line, "\n"]);
    }
}

/// Where the instruction is that a frame stands for: of an address that is returned to, the call
/// before it.
fn instruction(frame: &Frame) -> u64 {
    match frame.source {
        FrameSource::Register => frame.address,
        _ => frame.address.wrapping_sub(1),
    }
}

/// The function of a frame, and what kernels print behind its name.
fn name(frame: &Frame, symbols: &Symbols) -> Option<(String, String)> {
    let at = instruction(frame);
    let symbol = symbols.lookup(at)?;
    let offset = symbol.offset + frame.address.wrapping_sub(at);
    Some((symbol.name.to_owned(), format!("+{offset:#x}/{:#x}", symbol.size)))
}

/// `kvm_wait+0x34/0x40`, or the address.
fn describe(frame: &Frame, symbols: Option<&Symbols>) -> String {
    match symbols.and_then(|symbols| name(frame, symbols)) {
        Some((name, place)) => format!("{name}{place}"),
        None if frame.address > u32::MAX.into() => format!("{:#018x}", frame.address),
        None => format!("{:#010x}", frame.address),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use vmm::forensics::{Frame, FrameSource, LogError, Registers};
    use vmm::{Ending, HangKind, Milestone, MpState, Summary, VcpuState};

    use super::conclude;
    use crate::crash::{Kind, classify};
    use crate::symbols::Symbols;
    use crate::symbols::tests::{ud2, vmlinux};
    use crate::trial::tests::job;
    use crate::trial::{Job, Outcome, Target, TrialReport, UnseenLog};

    const MAP: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t kvm_wait
ffffffff81000200 T __pv_queued_spin_lock_slowpath
ffffffff81000300 T do_dup2
ffffffff81000400 t default_idle
ffffffff81000500 T cpu_startup_entry
ffffffff81000600 T asm_sysvec_apic_timer_interrupt
ffffffff81000700 T lapic_next_deadline
ffffffff81000800 T _raw_spin_lock
ffffffff81000900 t ext4_writepages
ffffffff81000a00 T _etext
";

    fn vcpu(vcpu: u8, rflags: u64, addresses: &[u64]) -> VcpuState {
        let frame = |(index, offset): (usize, &u64)| Frame {
            address: 0xffff_ffff_8100_0000 + offset,
            source: if index == 0 { FrameSource::Register } else { FrameSource::Orc },
        };
        VcpuState {
            vcpu,
            mp_state: MpState::Halted,
            registers: Registers { rflags, cs: 0x10, efer: 1 << 10, ..Registers::default() },
            backtrace: addresses.iter().enumerate().map(frame).collect(),
            ..VcpuState::default()
        }
    }

    fn hung(kind: HangKind, vcpus: Vec<VcpuState>) -> TrialReport {
        TrialReport {
            machine: Some(Summary {
                vcpus,
                silent_us: 2_500_000,
                nmi_lines: vec!["Uhhuh. NMI received".into()],
                ..Summary::new(Ending::Hang { kind })
            }),
            milestones: vec![(Milestone::WorkloadStarted, 5)],
            ..TrialReport::without_machine(Outcome::Clean)
        }
    }

    fn with_map(target: Target) -> (Job, tempfile::NamedTempFile) {
        let mut map = tempfile::NamedTempFile::new().unwrap();
        map.write_all(MAP.as_bytes()).unwrap();
        (Job { target, symbols: Some(map.path().to_owned()), ..job() }, map)
    }

    const OFF: u64 = 2;
    const ON: u64 = 0x202;

    /// vCPU 0 idles, vCPU 1 waits for a kick that does not come.
    fn lost_kick() -> TrialReport {
        let idle = vcpu(0, ON, &[0x410, 0x505]);
        hung(HangKind::Idle, vec![idle, vcpu(1, OFF, &[0x134, 0x278, 0x305])])
    }

    #[test]
    fn the_vcpu_that_can_not_go_on_is_blamed_and_named() {
        let (job, _map) = with_map(Target::Hang);
        let report = conclude(&job, lost_kick());
        assert_eq!(report.outcome, Outcome::Hit { title: "hang in kvm_wait".into() });
        let [seen] = report.crashes.as_slice() else { panic!("{:?}", report.crashes) };
        assert_eq!((seen.crash.title.as_str(), seen.crash.kind), ("hang in kvm_wait", Kind::Hang));
        assert_eq!(seen.crash.frame.as_deref(), Some("kvm_wait"));
        let text = &seen.crash.report;
        let first = "vmbisect: hang in kvm_wait: every vCPU idle, silent for 2 s\n\nvCPU 1: halted, \
                     interrupts off";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("RIP: 0010:kvm_wait+0x34/0x100\n"), "{text}");
        assert!(text.contains("Call Trace:\n __pv_queued"), "{text}");
        assert!(text.contains(" do_dup2+0x5/0x100\n\nvCPU 0: halted, interrupts on"), "{text}");
        assert!(text.contains("  | Uhhuh. NMI received\n"), "{text}");
        // Kept in a file, it is read as what it is.
        assert_eq!(classify(text.as_bytes())[0].title, "hang in kvm_wait");
    }

    #[test]
    fn what_spins_with_interrupts_on_is_blamed_and_not_the_interrupt_it_was_met_in() {
        let (job, _map) = with_map(Target::Hang);
        let running = |vcpu| VcpuState { mp_state: MpState::Running, ..vcpu };
        let spinning = |vcpu| VcpuState { spins: true, ..running(vcpu) };
        let met_in_the_timer = vcpu(1, OFF, &[0x70e, 0x616, 0x314]);
        // The other one is not halted at the last look, but only then.
        let vcpus = vec![running(vcpu(0, ON, &[0x410, 0x505])), spinning(met_in_the_timer.clone())];
        let report = conclude(&job, hung(HangKind::SpinningInterruptsOn, vcpus));
        assert_eq!(report.outcome, Outcome::Hit { title: "hang in do_dup2".into() });
        assert!(report.crashes[0].crash.report.contains("silent for 2 s\n\nvCPU 1: "));
        // A handler that does not end is what hangs, unless another vCPU spins without one.
        let vcpus = vec![spinning(met_in_the_timer.clone())];
        let report = conclude(&job, hung(HangKind::SpinningInterruptsOff, vcpus));
        assert_eq!(report.outcome, Outcome::Hit { title: "hang in lapic_next_deadline".into() });
        let vcpus = vec![running(met_in_the_timer), spinning(vcpu(2, OFF, &[0x314]))];
        let report = conclude(&job, hung(HangKind::SpinningInterruptsOff, vcpus));
        assert_eq!(report.outcome, Outcome::Hit { title: "hang in do_dup2".into() });
    }

    #[test]
    fn who_waits_for_another_is_blamed_last() {
        let (job, _map) = with_map(Target::Hang);
        let spinning = |number, addresses: &[u64]| VcpuState {
            mp_state: MpState::Running,
            spins: true,
            ..vcpu(number, OFF, addresses)
        };
        let title = |vcpus| {
            let report = conclude(&job, hung(HangKind::SpinningInterruptsOff, vcpus));
            report.crashes[0].crash.title.clone()
        };
        let waits = || spinning(0, &[0x814, 0x914]);
        let sleeps = || vcpu(1, OFF, &[0x134, 0x278, 0x305]);
        assert_eq!(title(vec![waits()]), "hang in ext4_writepages");
        assert_eq!(title(vec![waits(), vcpu(1, ON, &[0x410])]), "hang in ext4_writepages");
        assert_eq!(title(vec![waits(), sleeps()]), "hang in kvm_wait");
        assert_eq!(title(vec![waits(), sleeps(), spinning(2, &[0x314])]), "hang in do_dup2");
    }

    #[test]
    fn only_who_looks_for_it_takes_a_hang_for_a_hit() {
        let named = |pattern: &str| Target::Crash(vec![pattern.into()]);
        let title = || "hang in kvm_wait".to_owned();
        let (job, _map) = with_map(named("hang in *"));
        assert_eq!(conclude(&job, lost_kick()).outcome, Outcome::Hit { title: title() });
        let (job, _map) = with_map(named("WARNING in kvm_wait"));
        assert_eq!(conclude(&job, lost_kick()).outcome, Outcome::Hang { title: title() });
        let (job, _map) = with_map(Target::AnyCrash);
        assert_eq!(conclude(&job, lost_kick()).outcome, Outcome::Hang { title: title() });
        let nameless = Job { target: Target::Hang, symbols: None, ..job };
        let title = "hang: every vCPU idle".to_owned();
        assert_eq!(conclude(&nameless, lost_kick()).outcome, Outcome::Hit { title });
    }

    #[test]
    fn without_names_there_are_addresses_and_the_reason() {
        let mut hung = lost_kick();
        hung.unseen_log = Some(UnseenLog {
            problem: Some(LogError::NotFound),
            lines: vec!["[    1.000000] last words".into()],
            ..UnseenLog::default()
        });
        let report = conclude(&Job { symbols: None, ..job() }, hung.clone());
        let crash = &report.crashes[0].crash;
        assert_eq!(crash.title, "hang: every vCPU idle");
        assert!(crash.report.contains("\n 0xffffffff81000278\n"), "{}", crash.report);
        assert!(crash.report.contains("--vmlinux"), "{}", crash.report);
        assert!(crash.report.contains("was not read: no kernel log"), "{}", crash.report);
        assert!(crash.report.contains("  | [    1.000000] last words\n"), "{}", crash.report);
        hung.machine.as_mut().unwrap().symbols_fit = Some(false);
        let (job, _map) = with_map(Target::Hang);
        let text = conclude(&job, hung).crashes[0].crash.report.clone();
        assert!(text.contains("is of another kernel"), "{text}");
    }

    #[test]
    fn a_32_bit_kernels_report_has_its_registers_and_names() {
        let mut map = tempfile::NamedTempFile::new().unwrap();
        map.write_all(MAP.replace("ffffffff81", "c1").as_bytes()).unwrap();
        let job = Job { target: Target::Hang, symbols: Some(map.path().to_owned()), ..job() };
        let mut stuck = vcpu(0, OFF, &[0x134, 0x278, 0x305]);
        for frame in &mut stuck.backtrace {
            frame.address = frame.address - 0xffff_ffff_8100_0000 + 0xc100_0000;
        }
        stuck.registers =
            Registers { cs: 0x60, rsp: 0xc123_4560, rflags: OFF, ..Registers::default() };
        let report = conclude(&job, hung(HangKind::HaltedInterruptsOff, vec![stuck.clone()]));
        assert_eq!(report.outcome, Outcome::Hit { title: "hang in kvm_wait".into() });
        let text = &report.crashes[0].crash.report;
        assert!(text.contains("\nEIP: kvm_wait+0x34/0x100\nCS: 0060 EFLAGS: 00000002\n"), "{text}");
        assert!(text.contains(" EBP: 00000000 ESP: c1234560\n"), "{text}");
        assert!(text.contains("Call Trace:\n __pv_queued"), "{text}");
        assert_eq!(classify(text.as_bytes())[0].title, "hang in kvm_wait");
        let nameless = Job { symbols: None, ..job };
        let report = conclude(&nameless, hung(HangKind::HaltedInterruptsOff, vec![stuck]));
        let text = &report.crashes[0].crash.report;
        assert!(text.contains("\nEIP: 0xc1000134\n"), "{text}");
    }

    #[test]
    fn with_debug_information_each_function_has_its_file_and_line() {
        let Some((_dir, path)) = vmlinux() else { return };
        let symbols = Symbols::open(&path).unwrap();
        let at = ud2(&path, &symbols);
        let start = symbols.address_of("start_kernel").unwrap();
        let second = symbols.address_of("second").unwrap();
        // The same instruction, once as the one that it is at, once as the call before what is
        // returned to.
        let mut stuck = vcpu(0, OFF, &[0, 0, 0]);
        for (frame, address) in stuck.backtrace.iter_mut().zip([at, second + 1, at + 1]) {
            frame.address = address;
        }
        let job = Job { target: Target::Hang, symbols: Some(path), ..job() };
        let report = conclude(&job, hung(HangKind::HaltedInterruptsOff, vec![stuck]));
        // The way into the kernel is to blame for nothing.
        assert_eq!(report.outcome, Outcome::Hit { title: "hang in second".into() });
        let text = &report.crashes[0].crash.report;
        let size = symbols.lookup(start).unwrap().size;
        let place = |offset: u64| format!("start_kernel+{:#x}/{size:#x}", at - start + offset);
        let lines = |before: &str, place: &str| {
            format!(
                "{before}innermost include/linux/helper.h:4 [inline]\n\
                 {before}helper include/linux/helper.h:9 [inline]\n{before}{place} init/main.c:9\n"
            )
        };
        let exact = place(0);
        assert!(text.contains(&lines("RIP: 0010:", &exact)), "{text}");
        let (_, trace) = text.split_once("Call Trace:\n second+0x1/").unwrap();
        let (second, trace) = trace.split_once('\n').unwrap();
        assert!(second.contains(" net/second.c:"), "{text}");
        assert!(trace.starts_with(&lines(" ", &place(1))), "{text}");
        assert_eq!(classify(text.as_bytes())[0].title, "hang in second");
    }

    #[test]
    fn what_was_printed_comes_first() {
        let (job, _map) = with_map(Target::Hang);
        let mut hung = lost_kick();
        let crash = crate::trial::tests::crash("WARNING in foo");
        hung.crashes =
            vec![crate::trial::SeenCrash { phase: crate::crash::Phase::Boot, at_us: 1, crash }];
        let report = conclude(&job, hung);
        assert_eq!(report.outcome, Outcome::Foreign { title: "WARNING in foo".into() });
        assert_eq!(report.crashes.len(), 2);
    }
}
