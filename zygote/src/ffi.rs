//! What the Python zygote calls, through `ctypes`.

#![allow(unsafe_code, reason = "a C interface")]

use std::os::fd::BorrowedFd;

use libc::c_int;

use crate::serve::{Interpreter, Served, serve};

/// Serving ended because the worker is gone.
const WORKER_GONE: c_int = -1;
/// Serving ended because of an error, which is on standard error.
const BROKEN: c_int = -2;

type Hook = extern "C" fn();

/// `PyOS_BeforeFork`, `PyOS_AfterFork_Parent` and `PyOS_AfterFork_Child`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    before: Hook,
    parent: Hook,
    child: Hook,
}

impl Interpreter for Hooks {
    fn before_fork(&self) {
        (self.before)();
    }
    fn after_fork_parent(&self) {
        (self.parent)();
    }
    fn after_fork_child(&self) {
        (self.child)();
    }
}

/// Serves fork requests from the socket `control`. Returns in each child with the number of its
/// socket to the worker, and once in the parent with a negative number.
///
/// # Safety
/// The three hooks must be callable whenever the caller's thread is inside this function, and
/// `control` must be an open descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn flowcell_zygote_serve(control: c_int, hooks: Hooks) -> c_int {
    // SAFETY: the caller promises that it is open.
    let control = unsafe { BorrowedFd::borrow_raw(control) };
    match serve(control, &hooks) {
        Ok(Served::Child(socket)) => socket,
        Ok(Served::WorkerGone) => WORKER_GONE,
        Err(error) => {
            eprintln!("zygote: {error}");
            BROKEN
        }
    }
}
