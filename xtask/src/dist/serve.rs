//! A server of files on this machine, for the script that installs: one request at a time, and none after it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// The server; it ends with this.
pub struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    is_damaged: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the files of a folder, to this machine only.
    pub fn start(folder: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening on this machine")?;
        let address = listener.local_addr().context("finding the port")?;
        let (is_over, is_damaged) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (over, damaged) = (Arc::clone(&is_over), Arc::clone(&is_damaged));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // Who hangs up has what it wants.
                let _ = answer(stream, &folder, damaged.load(Ordering::Relaxed));
            }
        });
        Ok(Self {
            address,
            is_over,
            is_damaged,
            thread: Some(thread),
        })
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, the last byte of each file is another, or as it is.
    pub fn damage(&self, is_damaged: bool) {
        self.is_damaged.store(is_damaged, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(stream: TcpStream, folder: &Path, is_damaged: bool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split_whitespace().nth(1).unwrap_or_default();
    // A name, and nothing that leads elsewhere.
    let name = path.trim_start_matches('/');
    let file = (!name.contains('/'))
        .then(|| std::fs::read(folder.join(name)).ok())
        .flatten();
    let mut stream = reader.into_inner();
    match file {
        Some(mut bytes) => {
            if let Some(last) = bytes.last_mut().filter(|_| is_damaged) {
                *last ^= 1;
            }
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                bytes.len()
            )?;
            stream.write_all(&bytes)
        }
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}
