//! How fast console logs are read: clean ones, dense ones, and hostile ones.
//!
//! `cargo bench -p vmbisect-tests --bench classify`. The goals, on one core: 1 GB/s where nothing
//! crashes, 200 MB/s where everything does, no more than twice the time for ten times the rules, and
//! time that grows with the length of the log and not faster.

use std::fmt::Write;

use divan::{Bencher, counter::BytesCount};
use vmbisect::crash::Scanner;

const SIZE: usize = 16 << 20;

fn main() {
    divan::main();
}

/// A log of a machine that does its work.
fn clean() -> String {
    let lines = [
        "pci 0000:00:03.0: reg 0x10: [io  0xc000-0xc03f]",
        "ACPI: PCI Interrupt Link [LNKA] (IRQs 5 *10 11)",
        "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)",
        "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready",
        "audit: type=1400 audit(1571.123:35): avc:  denied  { map } for  pid=7342 comm=\"bash\"",
        "systemd[1]: Started Journal Service.",
        "usb 1-1: New USB device found, idVendor=0b95, idProduct=7720, bcdDevice=bb.f5",
        "x86/fpu: Supporting XSAVE feature 0x001: 'x87 floating point registers'",
    ];
    let mut log = String::with_capacity(SIZE + 256);
    for number in 0u64.. {
        if log.len() >= SIZE {
            break;
        }
        let line = lines[number as usize % lines.len()];
        writeln!(log, "[{:5}.{:06}][ T{:4}] {line}", number / 1000, number % 1000, number % 977)
            .unwrap();
    }
    log
}

const WARNING: &str = "\
------------[ cut here ]------------
WARNING: CPU: 1 PID: 3214 at kernel/workqueue.c:2911 __flush_work+0x740/0x880
Modules linked in:
CPU: 1 PID: 3214 Comm: kworker/1:2 Not tainted 4.19.38 #6
Hardware name: Google Google Compute Engine/Google Compute Engine, BIOS Google 01/01/2011
Workqueue: md_misc mddev_delayed_delete
RIP: 0010:__flush_work+0x740/0x880
Code: 74 58 e8 63 59 25 00 fb 66 0f 1f 44 00 00 45 31 e4 e9 86 fd ff ff e8 4f 59 25 00 0f 0b 45 31 e4 e9 77 fd ff ff
RSP: 0018:ffff88809bc3f990 EFLAGS: 00010293
RAX: ffff88809bc10640 RBX: dffffc0000000000 RCX: ffffffff8146100b
RDX: 0000000000000000 RSI: ffffffff814616b0 RDI: 0000000000000001
RBP: ffff88809bc3faf8 R08: ffff88809bc10640 R09: ffff88809bc10f08
R10: 0000000000000000 R11: 0000000000000000 R12: ffff88809aca8690
R13: ffff88809bc3fad0 R14: 0000000000000001 R15: 0000000000000001
FS:  0000000000000000(0000) GS:ffff8880ae800000(0000) knlGS:0000000000000000
CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
Call Trace:
 ? __lock_acquire+0x548/0x3fb0
 __cancel_work_timer+0x3bf/0x520
 ? mod_delayed_work_on+0x1a0/0x1a0
 cancel_work_sync+0x18/0x20
 blk_sync_queue+0x33/0x1c0
 blk_cleanup_queue+0x2fd/0x580
 md_free+0xc7/0x190
 kobject_put+0x182/0x2e0
 process_one_work+0x989/0x1790
 worker_thread+0x98/0xe40
 kthread+0x354/0x420
 ret_from_fork+0x24/0x30
---[ end trace 0000000000000000 ]---
";

const DEADLOCK: &str = "\
======================================================
WARNING: possible circular locking dependency detected
4.14.0-rc1+ #1 Not tainted
------------------------------------------------------
syz-executor0/22269 is trying to acquire lock:
 (&bdev->bd_mutex){+.+.}, at: [<ffffffff8232bf0e>] blkdev_reread_part+0x1e/0x40

but task is already holding lock:
 (&lo->lo_ctl_mutex#2){+.+.}, at: [<ffffffff83542c29>] lo_compat_ioctl+0x109/0x140

which lock already depends on the new lock.

stack backtrace:
CPU: 1 PID: 22269 Comm: syz-executor0 Not tainted 4.14.0-rc1+ #1
Call Trace:
 dump_stack+0x194/0x257
 check_prev_add+0x865/0x1520
 __lock_acquire+0x328f/0x4620
 lock_acquire+0x1d5/0x580
 __mutex_lock+0x16f/0x1870
 blkdev_reread_part+0x1e/0x40
 loop_reread_partitions+0x12f/0x1a0
 lo_compat_ioctl+0x114/0x140
";

const KASAN: &str = "\
==================================================================
BUG: KASAN: use-after-free in refcount_inc_not_zero_checked+0x81/0x200
Read of size 4 at addr ffff88805b8f1820 by task kworker/1:3/3173

CPU: 1 PID: 3173 Comm: kworker/1:3 Not tainted 5.3.0+ #296
Call Trace:
 dump_stack+0xca/0x13e
 print_address_description+0x6a/0x32c
 __kasan_report.cold+0x1a/0x33
 kasan_report+0xe/0x12
 refcount_inc_not_zero_checked+0x81/0x200
 kthread_stop+0x6c/0x600
 hwrng_unregister+0x190/0x210
 chaoskey_disconnect+0x1b2/0x200
 usb_unbind_interface+0x1bd/0x8a0
 process_one_work+0x92b/0x1530

Allocated by task 2:
 save_stack+0x1b/0x80
 kmem_cache_alloc_node+0xdc/0x330
 copy_process+0x43c0/0x65f0

Freed by task 16:
 save_stack+0x1b/0x80
 kmem_cache_free+0xb9/0x380
 __put_task_struct+0x1e0/0x4c0

Memory state around the buggy address:
 ffff88805b8f1700: fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb
>ffff88805b8f1800: fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb
==================================================================
";

/// A log of nothing but crashes.
fn dense() -> String {
    let mut log = String::with_capacity(SIZE + 8192);
    let mut number = 0u64;
    while log.len() < SIZE {
        for report in [WARNING, DEADLOCK, KASAN] {
            for line in report.lines() {
                number += 1;
                writeln!(log, "[{:5}.{:06}] {line}", number / 1000, number % 1000).unwrap();
            }
        }
    }
    log
}

fn scan(bencher: Bencher<'_, '_>, log: &str, scanner: &Scanner) {
    bencher.counter(BytesCount::new(log.len())).bench_local(|| {
        let mut scanner = scanner.clone();
        let mut crashes = 0;
        for piece in log.as_bytes().chunks(64 << 10) {
            crashes += scanner.push(piece).len();
        }
        crashes + scanner.finish().len()
    });
}

/// A log without a crash, by the number of rules.
#[divan::bench(args = [1, 10], max_time = 2)]
fn clean_log(bencher: Bencher<'_, '_>, times: usize) {
    scan(bencher, &clean(), &Scanner::with_many_rules(times));
}

/// A log of nothing but crashes, by the number of rules.
#[divan::bench(args = [1, 10], max_time = 2)]
fn dense_log(bencher: Bencher<'_, '_>, times: usize) {
    scan(bencher, &dense(), &Scanner::with_many_rules(times));
}

/// Logs that are made to be slow, by their length: twice the length must take twice the time.
mod hostile {
    use super::{Bencher, Scanner, scan};

    const SIZES: [usize; 2] = [4 << 20, 8 << 20];

    /// Every line could begin a report and does not.
    #[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
    fn headers_without_reports(bencher: Bencher<'_, '_>, size: usize) {
        let line = "[    1.000000] XFS (sda1): WARNING: nothing to worry about, INFO: task fine\n";
        scan(bencher, &line.repeat(size / line.len()), &Scanner::new());
    }

    /// Every line begins a report.
    #[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
    fn headers_only(bencher: Bencher<'_, '_>, size: usize) {
        let line = "[    1.000000] BUG: KASAN: use-after-free in f+0x1/0x2\n";
        scan(bencher, &line.repeat(size / line.len()), &Scanner::new());
    }

    /// One report that never ends, and whose stack can't be trusted.
    #[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
    fn endless_report(bencher: Bencher<'_, '_>, size: usize) {
        let mut log = "[    1.000000][    T1] general protection fault: 0000 [#1]\n".to_owned();
        log.push_str(&"[    1.000000][    T1]  ? f+0x1/0x2\n</TASK>\n".repeat(size / 44));
        scan(bencher, &log, &Scanner::new());
    }

    /// One line that never ends.
    #[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
    fn endless_line(bencher: Bencher<'_, '_>, size: usize) {
        scan(bencher, &"WARNING: BUG: [[[[<<<<".repeat(size / 22), &Scanner::new());
    }

    /// Reports of a thousand tasks at once, a line of each in turn.
    #[divan::bench(args = SIZES, sample_count = 3, sample_size = 1)]
    fn interleaved_tasks(bencher: Bencher<'_, '_>, size: usize) {
        let mut log = String::new();
        while log.len() < size {
            for task in 0..1000 {
                log.push_str(&format!("[    1.000000][ T{task:4}] kernel BUG at f.c:1!\n"));
            }
            for task in 0..1000 {
                log.push_str(&format!("[    1.000000][ T{task:4}]  f+0x1/0x2\n"));
            }
        }
        scan(bencher, &log, &Scanner::new());
    }
}
