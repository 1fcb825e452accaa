//! What may wait for a disk or a daemon when it goes.

use std::ops::Deref;

use pyo3::Python;

/// Goes with the interpreter released, also when Python drops it without having closed it.
pub(crate) struct Slow<T: Send>(Option<T>);

impl<T: Send> Slow<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send> Deref for Slow<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only dropping it takes it")
    }
}

impl<T: Send> Drop for Slow<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        // While the interpreter ends there is nothing to release, and what was moved here goes all the same.
        Python::try_attach(|py| py.detach(|| drop(value)));
    }
}
