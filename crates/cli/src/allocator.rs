//! The memory of the process in huge pages.
//!
//! Promises: the heap is asked of the kernel in pages of 2 MiB where it can have them. The reason is failover: the kernel
//! frees a killed process's memory before it closes its sockets, so the death notice of a leader with 1 GB in pages of
//! 4 KiB comes up to half a second late (figures in ARCHITECTURE.md, "Memory"). Left out on purpose: reserved huge pages
//! (hugetlbfs), which need an administrator; transparent ones on request (`madvise`) are the default of most kernels.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Memory that is free goes back to the kernel in pieces of so many KiB: a smaller one would take a huge page apart, and what is
/// allocated there afterwards would come in pages of 4 KiB.
const HUGE_PAGE_KIB: std::ffi::c_long = 2_048;
/// `mi_option_minimal_purge_size`, which the bindings have no name for: the number that it has in mimalloc 3.3.
const MINIMAL_PURGE_SIZE: libmimalloc_sys::mi_option_t = 44;
const _: () = assert!(
    libmimalloc_sys::_mi_option_last == 47,
    "another release of mimalloc: look up the number of mi_option_minimal_purge_size in its mimalloc.h"
);

/// Asks for huge pages for all memory that is reserved from now on. Call it first.
#[allow(
    unsafe_code,
    reason = "the allocator's options can be set through its C interface only"
)]
pub(crate) fn use_huge_pages() {
    // Safety: each sets one word of the allocator's option table; any thread may do so at any time.
    unsafe {
        libmimalloc_sys::mi_option_set_enabled(libmimalloc_sys::mi_option_large_os_pages, true);
        libmimalloc_sys::mi_option_set(MINIMAL_PURGE_SIZE, HUGE_PAGE_KIB);
    }
}
