//! The page of code by which a process asks the kernel for the time without a system call (vdso(7)), and another
//! code in its place that adds seconds to what it says.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where the seconds stand in the code that takes the place of `clock_gettime`.
const SECONDS: u64 = 40;

/// A process, and where in it the code is.
#[derive(Debug)]
pub(super) struct Vdso {
    memory: File,
    /// The functions, as addresses in the process.
    clock_gettime: Range<u64>,
    gettimeofday: Range<u64>,
    time: Range<u64>,
}

impl Vdso {
    /// That of a process; nothing where it has none, as a process of the kernel has not.
    ///
    /// # Errors
    /// The process has ended, or its code is not of a form that is known.
    pub(super) fn of(process: &Path) -> io::Result<Option<Self>> {
        let maps = fs::read_to_string(process.join("maps"))?;
        let Some(range) = maps.lines().find(|line| line.ends_with("[vdso]")).and_then(range) else {
            return Ok(None);
        };
        let memory = OpenOptions::new().read(true).write(true).open(process.join("mem"))?;
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut image = vec![0; length];
        memory.read_exact_at(&mut image, range.start)?;
        let place = |name: &str| {
            let found = function(&image, name).map(|own| range.start + own.start..range.start + own.end);
            found.ok_or_else(|| io::Error::other(format!("its vdso has no {name}")))
        };
        let (clock_gettime, gettimeofday, time) =
            (place("__vdso_clock_gettime")?, place("__vdso_gettimeofday")?, place("__vdso_time")?);
        Ok(Some(Self { memory, clock_gettime, gettimeofday, time }))
    }

    /// Whether a program counter is within the code that is replaced.
    pub(super) fn holds(&self, counter: u64) -> bool {
        [&self.clock_gettime, &self.gettimeofday, &self.time].iter().any(|range| range.contains(&counter))
    }

    /// Whether its code has been replaced already.
    ///
    /// # Errors
    /// The process has ended.
    pub(super) fn is_replaced(&self) -> io::Result<bool> {
        let mut now = [0; 7];
        self.memory.read_exact_at(&mut now, self.clock_gettime.start)?;
        Ok(now == clock_gettime(0)[..7])
    }

    /// Replaces the code, which nothing may be at work in.
    ///
    /// # Errors
    /// The process has ended, or its functions are too short for the code.
    pub(super) fn replace(&self, seconds: i64) -> io::Result<()> {
        let at = self.clock_gettime.start + SECONDS;
        let codes = [
            (&self.gettimeofday, gettimeofday(self.gettimeofday.start, at)),
            (&self.time, time(self.time.start, at)),
            (&self.clock_gettime, clock_gettime(seconds)),
        ];
        for (range, code) in codes {
            if code.len() as u64 > range.end - range.start {
                return Err(io::Error::other(
                    "a function of its vdso is shorter than what should take its place",
                ));
            }
            self.memory.write_all_at(&code, range.start)?;
        }
        Ok(())
    }

    /// Changes the seconds that are added, where the code has been replaced.
    ///
    /// # Errors
    /// The process has ended.
    pub(super) fn set(&self, seconds: i64) -> io::Result<()> {
        self.memory.write_all_at(&seconds.to_le_bytes(), self.clock_gettime.start + SECONDS)
    }
}

/// `clock_gettime(edi, rsi)`: the system call, and the seconds added for the two clocks of the day.
fn clock_gettime(seconds: i64) -> Vec<u8> {
    let mut code = vec![
        0xB8, 228, 0, 0, 0, // mov eax, 228
        0x0F, 0x05, // syscall
        0x85, 0xC0, // test eax, eax
        0x75, 0x14, // jnz to the ret at 31
        0x83, 0xFF, 0x00, // cmp edi, CLOCK_REALTIME
        0x74, 0x05, // je to 21
        0x83, 0xFF, 0x05, // cmp edi, CLOCK_REALTIME_COARSE
        0x75, 0x0A, // jne to 31
        0x48, 0x8B, 0x0D, 12, 0, 0, 0, // 21: mov rcx, [rip + 12], which is at 40
        0x48, 0x01, 0x0E, // add [rsi], rcx
        0xC3, // 31: ret
    ];
    code.resize(40, 0xCC);
    code.extend(seconds.to_le_bytes());
    code
}

/// `gettimeofday(rdi, rsi)`, which takes the seconds from where they stand.
fn gettimeofday(own: u64, seconds: u64) -> Vec<u8> {
    let mut code = vec![
        0xB8, 96, 0, 0, 0, // mov eax, 96
        0x0F, 0x05, // syscall
        0x85, 0xC0, // test eax, eax
        0x75, 0x0F, // jnz to the ret at 26
        0x48, 0x85, 0xFF, // test rdi, rdi
        0x74, 0x0A, // jz to 26
        0x48, 0x8B, 0x0D, // 16: mov rcx, [rip + …]
    ];
    code.extend(distance(own + 23, seconds));
    code.extend([0x48, 0x01, 0x0F, 0xC3]); // add [rdi], rcx; 26: ret
    code
}

/// `time(rdi)`, likewise.
fn time(own: u64, seconds: u64) -> Vec<u8> {
    let mut code = vec![
        0xB8, 201, 0, 0, 0,    // mov eax, 201
        0x57, // push rdi
        0x31, 0xFF, // xor edi, edi
        0x0F, 0x05, // syscall
        0x5F, // pop rdi
        0x48, 0x03, 0x05, // 11: add rax, [rip + …]
    ];
    code.extend(distance(own + 18, seconds));
    code.extend([0x48, 0x85, 0xFF, 0x74, 0x03, 0x48, 0x89, 0x07, 0xC3]); // test rdi, rdi; jz; mov [rdi], rax; ret
    code
}

/// From the end of an instruction to what it reads. Both are in one small mapping.
fn distance(from: u64, to: u64) -> [u8; 4] {
    i32::try_from(to.cast_signed() - from.cast_signed()).unwrap_or_default().to_le_bytes()
}

/// The addresses of a line of `maps`.
fn range(line: &str) -> Option<Range<u64>> {
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    Some(u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?)
}

/// Where a function is in an ELF image (elf(5)), by its table of dynamic symbols.
fn function(image: &[u8], name: &str) -> Option<Range<u64>> {
    let (table, size, count) = (long(image, 40)?, short(image, 58)?, short(image, 60)?);
    let section = |index: u64| table + index * u64::from(size);
    let symbols = (0..u64::from(count)).map(section).find(|section| int(image, section + 4) == Some(11))?;
    let (from, length, link) =
        (long(image, symbols + 24)?, long(image, symbols + 32)?, int(image, symbols + 40)?);
    let names = long(image, section(u64::from(link)) + 24)?;
    (0..length / 24).map(|index| from + index * 24).find_map(|symbol| {
        let own = usize::try_from(names + u64::from(int(image, symbol)?)).ok()?;
        let own = image.get(own..)?.split(|byte| *byte == 0).next()?;
        let start = long(image, symbol + 8)?;
        (own == name.as_bytes()).then_some(start..start + long(image, symbol + 16)?)
    })
}

fn bytes<const N: usize>(image: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    image.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn long(image: &[u8], at: u64) -> Option<u64> {
    bytes(image, at).map(u64::from_le_bytes)
}

fn int(image: &[u8], at: u64) -> Option<u32> {
    bytes(image, at).map(u32::from_le_bytes)
}

fn short(image: &[u8], at: u64) -> Option<u16> {
    bytes(image, at).map(u16::from_le_bytes)
}
