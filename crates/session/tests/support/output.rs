//! A place that logs and other sinks write to.

use std::io::Write;
use std::sync::{Arc, Mutex};

/// All that was written, by any sink.
#[derive(Clone, Default)]
pub struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    pub fn say(&self, text: &str) {
        let mut output = self.0.lock().unwrap();
        output.extend_from_slice(text.as_bytes());
        output.push(b'\n');
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
