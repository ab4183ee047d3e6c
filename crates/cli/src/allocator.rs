//! The memory of the process in huge pages.
//!
//! Promises: the heap is asked of the kernel in pages of 2 MiB where it can have them. The reason is failover: the kernel
//! frees a killed process's memory before it closes its sockets, so the death notice of a leader with 1 GB in pages of
//! 4 KiB comes up to half a second late (figures in ARCHITECTURE.md, "Memory"). Left out on purpose: reserved huge pages
//! (hugetlbfs), which need an administrator; transparent ones on request (`madvise`) are the default of most kernels.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Asks for huge pages for all memory that is reserved from now on. Call it first.
#[allow(
    unsafe_code,
    reason = "the allocator's options can be set through its C interface only"
)]
pub(crate) fn use_huge_pages() {
    // Safety: sets one word of the allocator's option table; any thread may do so at any time.
    unsafe { libmimalloc_sys::mi_option_set_enabled(libmimalloc_sys::mi_option_large_os_pages, true) };
}
