//! The memory that every child shares until it writes to it.

use std::fs;
use std::io;
use std::ops::Range;

/// What the kernel maps with one entry instead of 512, on every machine that pages by 4 KiB.
const HUGE: usize = 2 << 20;

/// Puts the heap into huge pages, as far as the kernel is able to. A fork copies, and the end of a
/// child takes apart, one entry for each page that the parent has; a child that writes still copies
/// 4 KiB alone. Measured on Langflow's runtime (230 MB): fork 6.5 to 4.5 ms, end 8 to 5.5 ms.
///
/// # Errors
/// When the list of mappings cannot be read. A kernel that does not know how (before 6.1) leaves
/// the pages as they are.
pub(crate) fn gather() -> io::Result<()> {
    for range in heap(&fs::read_to_string("/proc/self/maps")?) {
        collapse(range);
    }
    Ok(())
}

/// The private, writable, anonymous mappings, cut to whole huge pages.
fn heap(maps: &str) -> impl Iterator<Item = Range<usize>> {
    maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (addresses, kind) = (fields.next()?, fields.next()?);
        let anonymous = matches!(fields.nth(3), None | Some("[heap]"));
        let (start, end) = addresses.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?.next_multiple_of(HUGE);
        let end = usize::from_str_radix(end, 16).ok()? / HUGE * HUGE;
        (kind == "rw-p" && anonymous && start < end).then_some(start..end)
    })
}

/// One at a time: a huge page that cannot be had does not stop the others.
#[allow(unsafe_code, reason = "madvise takes an address")]
fn collapse(range: Range<usize>) {
    for start in range.step_by(HUGE) {
        // SAFETY: this advice changes how memory is mapped and never what is in it; where nothing
        // is mapped any more, it is refused.
        unsafe { libc::madvise(start as *mut libc::c_void, HUGE, libc::MADV_COLLAPSE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_huge_pages_of_anonymous_memory() {
        let maps = "\
55d0c0000000-55d0c0500000 rw-p 00000000 00:00 0                          [heap]
7f0000001000-7f0000401000 rw-p 00000000 00:00 0
7f1000000000-7f1000400000 r--p 00000000 00:00 0
7f2000000000-7f2000400000 rw-p 00000000 08:01 12                         /usr/lib/libc.so
7f3000000000-7f3000400000 rw-s 00000000 00:01 9
7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0                          [stack]
nonsense
";
        let found: Vec<_> = heap(maps).collect();
        assert_eq!(found, [0x55d0_c000_0000..0x55d0_c040_0000, 0x7f00_0020_0000..0x7f00_0040_0000]);
    }

    #[test]
    fn what_is_in_memory_stays() {
        let pages: Vec<u32> = (0..1 << 21).collect();
        gather().unwrap();
        assert!(pages.iter().zip(0..).all(|(found, expected)| *found == expected));
    }
}
