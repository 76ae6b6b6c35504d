//! The real-time clock and its CMOS memory (MC146818).
//!
//! It never has an update in progress, so a kernel that reads the time does not wait for one: 0xff
//! in register A would have it poll for a second.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY_OF_WEEK: u8 = 0x06;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const REGISTER_A: u8 = 0x0a;
const REGISTER_B: u8 = 0x0b;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// 32,768 Hz time base, 1,024 Hz rate, no update in progress.
const RATE: u8 = 0x26;
/// 24 hours a day, numbers in BCD.
const BCD_24_HOURS: u8 = 0x02;
/// The battery is good.
const VALID: u8 = 0x80;

/// The clock: host time in UTC, whatever the guest writes; the other bytes are memory.
#[derive(Debug)]
pub(crate) struct Cmos {
    index: u8,
    memory: [u8; 128],
}

impl Cmos {
    pub(crate) fn new() -> Cmos {
        Cmos { index: 0, memory: [0; 128] }
    }

    /// Port 0x70. Bit 7 masks NMI on a PC and selects nothing.
    pub(crate) fn select(&mut self, index: u8) {
        self.index = index & 0x7f;
    }

    /// Port 0x71.
    pub(crate) fn write(&mut self, value: u8) {
        if let Some(byte) = self.memory.get_mut(usize::from(self.index)) {
            *byte = value;
        }
    }

    /// Port 0x71.
    pub(crate) fn read(&self) -> u8 {
        let seconds =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.read_at(seconds)
    }

    fn read_at(&self, seconds: u64) -> u8 {
        let date = Date::of(seconds / 86_400);
        let of_day = seconds % 86_400;
        match self.index {
            SECONDS => bcd(of_day % 60),
            MINUTES => bcd(of_day / 60 % 60),
            HOURS => bcd(of_day / 3600),
            DAY_OF_WEEK => bcd((seconds / 86_400 + 4) % 7 + 1),
            DAY => bcd(date.day),
            MONTH => bcd(date.month),
            YEAR => bcd(date.year % 100),
            CENTURY => bcd(date.year / 100),
            REGISTER_A => RATE,
            REGISTER_B => BCD_24_HOURS,
            REGISTER_C => 0,
            REGISTER_D => VALID,
            index => self.memory.get(usize::from(index)).copied().unwrap_or(0xff),
        }
    }
}

fn bcd(value: u64) -> u8 {
    (value / 10 % 10 * 16 + value % 10) as u8
}

/// A day of the Gregorian calendar.
struct Date {
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// The date `days` after 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms"): years begin in March, so that the leap day is the last.
    fn of(days: u64) -> Date {
        let days = days + 719_468;
        let of_era = days % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Date {
            year: days / 146_097 * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(seconds: u64) -> Vec<u8> {
        let mut cmos = Cmos::new();
        [CENTURY, YEAR, MONTH, DAY, DAY_OF_WEEK, HOURS, MINUTES, SECONDS]
            .map(|index| {
                cmos.select(index | 0x80);
                cmos.read_at(seconds)
            })
            .to_vec()
    }

    #[test]
    fn time_is_the_hosts_in_bcd() {
        assert_eq!(registers(0), [0x19, 0x70, 1, 1, 5, 0, 0, 0]);
        assert_eq!(registers(951_782_399), [0x20, 0, 2, 0x28, 2, 0x23, 0x59, 0x59]);
        assert_eq!(registers(951_782_400), [0x20, 0, 2, 0x29, 3, 0, 0, 0]);
        assert_eq!(registers(1_893_455_999), [0x20, 0x29, 0x12, 0x31, 2, 0x23, 0x59, 0x59]);
    }

    #[test]
    fn memory_is_kept_and_no_update_is_in_progress() {
        let mut cmos = Cmos::new();
        cmos.select(0x0f);
        cmos.write(0x0a);
        assert_eq!(cmos.read(), 0x0a);
        cmos.select(REGISTER_A);
        cmos.write(0xff);
        assert_eq!(cmos.read() & 0x80, 0);
    }
}
