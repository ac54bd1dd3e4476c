//! What a process keeps in memory although it will hardly need it again. When that is given back is decided
//! elsewhere.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::libc;

/// The most mappings of our own program that are looked at; it has one segment of code.
const MAX_SEGMENTS: usize = 16;

/// Gives back what only the past needed: free heap, and our program's own code and constants, of which the kernel
/// maps 64 KiB around every page that was ever used. What is used again is mapped again from the page cache, without reading the
/// disk. Nothing that can fail matters.
pub fn give_back() {
    // SAFETY: takes a number; may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
    let (Ok(own), Ok(maps)) = (fs::metadata("/proc/self/exe"), fs::read_to_string("/proc/self/maps")) else {
        return;
    };
    for (start, end) in maps.lines().filter_map(|line| code_of(own.ino(), line)).take(MAX_SEGMENTS) {
        let address = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a private mapping of a file that never was writable, so it has no page that differs
        // from the file (relocations are in other segments); each page is read in again when it is next used
        // (madvise(2), MADV_DONTNEED).
        unsafe { libc::madvise(address, end.saturating_sub(start), libc::MADV_DONTNEED) };
    }
}

/// The range of a line of `/proc/self/maps` (proc(5)) that is code of the file `inode`, or what stands before the code
/// from its very beginning on. Relocated constants, which are not writable any more either, come after it:
/// `55c7-55c8 r-xp 00086000 fe:00 1234    /usr/bin/ganger`.
fn code_of(inode: u64, line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (rights, offset, _device, file) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let address = |text| usize::from_str_radix(text, 16).ok();
    let never_differs = rights == "r-xp" || (rights == "r--p" && address(offset) == Some(0));
    (never_differs && file.parse() == Ok(inode)).then_some((address(start)?, address(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kB of our own code that are mapped; all of it is mapped first if `whole`.
    fn mapped_code(whole: bool) -> u64 {
        let own = fs::metadata("/proc/self/exe").unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let (start, end) = maps.lines().find_map(|line| code_of(own.ino(), line)).expect("a segment of code");
        if whole {
            let address = std::ptr::with_exposed_provenance_mut(start);
            // SAFETY: asks for pages of a mapping of a file; changes none.
            unsafe { libc::madvise(address, end - start, libc::MADV_POPULATE_READ) };
        }
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        lines.by_ref().find(|line| code_of(own.ino(), line).is_some()).unwrap();
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    #[test]
    fn only_code_of_the_file_itself_is_meant() {
        let code = "1000-3000 r-xp 00086000 fe:00 1234                       /usr/bin/ganger";
        assert_eq!(code_of(1234, code), Some((0x1000, 0x3000)));
        assert_eq!(code_of(99, code), None);
        let constants = code.replace("r-xp", "r--p");
        assert_eq!(code_of(1234, &constants), None);
        assert_eq!(code_of(1234, &constants.replace("00086000", "00000000")), Some((0x1000, 0x3000)));
        assert_eq!(code_of(1234, &code.replace("r-xp", "rwxp")), None);
        assert_eq!(code_of(0, "7ffe-7fff rw-p 00000000 00:00 0    [stack]"), None);
    }

    #[test]
    fn code_that_is_not_used_leaves_memory_and_the_rest_goes_on() {
        let before = mapped_code(true);
        give_back();
        let after = mapped_code(false);
        assert!(after < before, "{after} kB of code after {before} kB");
    }
}
