//! `monocle serve`: answers over HTTP.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use monocle_fetch::hosts::AllowedHosts;
use monocle_runtime::model::locate::Places;
use monocle_runtime::scheduler::SchedulerOptions;
use monocle_server::app::{ServerOptions, real_folder};
use monocle_server::chat::pictures::PicturePlaces;
use monocle_server::models::catalogue::Catalogue;
use monocle_server::models::keep::KeepAlive;

use super::request::EngineArguments;
use super::sampling::seconds;
use super::{Misuse, output, size};

#[derive(Debug, Args)]
pub struct Serve {
    /// Models to serve besides those that manifests declare, the first of them where a request names none: a manifest's name or path, or a
    /// model's folder
    models: Vec<String>,

    /// Where to listen; an address that other machines can reach needs a key
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,

    /// On which port; 0 takes any that is free
    #[arg(long, default_value_t = 11434)]
    port: u16,

    /// A key that requests must bring (may be given several times); others on this machine can see it, so a file is better
    #[arg(long, value_name = "KEY")]
    api_key: Vec<String>,

    /// A file of keys, one a line
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// A name by which this server is called besides localhost: that of a proxy before it (may be given several times)
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    /// An origin whose web pages may ask, like `https://chat.example.org` (may be given several times)
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,

    /// A server that pictures may be fetched from; `*` for any public one (may be given several times) [default: none]
    #[arg(long, value_name = "HOST")]
    allow_url: Vec<String>,

    /// A folder below which requests may name pictures by `file:` (may be given several times) [default: none]
    #[arg(long, value_name = "DIR")]
    allow_files: Vec<PathBuf>,

    /// Another name for a model, like `gpt-4o=shapes` (may be given several times)
    #[arg(long, value_name = "ALIAS=MODEL", value_parser = alias)]
    alias: Vec<(String, String)>,

    /// Load this model before the first request (may be given several times)
    #[arg(long, value_name = "MODEL")]
    preload: Vec<String>,

    /// How long an idle model stays loaded, like `5m`; -1: until another needs the memory
    #[arg(long, value_name = "TIME", default_value = "-1", allow_negative_numbers = true, value_parser = keep)]
    ttl: KeepAlive,

    /// The most bytes of a request
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "64MiB")]
    max_body: usize,

    /// The most requests at once, those that wait with them
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_requests: u32,

    /// The most requests of one key at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_requests_per_key: u32,

    /// How long a request may wait to begin, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    max_wait: Option<Duration>,

    /// How long a request may take in all, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3600")]
    timeout: Duration,

    /// How long answers may go on when the server is to stop, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    grace: Duration,

    /// Memory, part of the limit, that keeps what was computed of earlier requests, and as much again that keeps features of pictures; for
    /// each model
    #[arg(long, value_name = "SIZE", value_parser = size::parse_or_zero, default_value = "1GB")]
    cache_limit: usize,

    /// No line for each request
    #[arg(long)]
    quiet: bool,

    #[command(flatten)]
    engine: EngineArguments,
}

/// A connection on which no request's head comes in this time is closed.
const HEAD_TIME: Duration = Duration::from_secs(30);

impl Serve {
    pub fn run(self) -> anyhow::Result<()> {
        let keys = self.keys()?;
        let hosts = AllowedHosts::parse(&self.allow_url).map_err(|error| Misuse(error.to_string()))?;
        let folders = self.allow_files.iter().map(|folder| {
            real_folder(folder).with_context(|| format!("cannot read the folder `{}`", folder.display()))
        });
        let pictures = PicturePlaces {
            hosts,
            folders: folders.collect::<Result<_, _>>()?,
        };
        let mut places = Places::from_env();
        // Nothing that a request asks for is fetched.
        places.hub.offline = true;
        let named = self.models.iter().map(|model| places.find(model, &mut |_| {}));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        // What is named by its path above may be named so again.
        let preload = self.preload.iter().map(|asked| {
            let place = self.models.iter().position(|model| model == asked);
            place.map_or_else(|| asked.clone(), |place| named[place].manifest.name.clone())
        });
        let preload = preload.collect();
        let maker = self.engine.maker();
        // What is wrong with the engine is told now.
        drop(maker().map_err(|error| Misuse(error.to_string()))?);
        let options = ServerOptions {
            host: self.host,
            port: self.port,
            keys,
            allowed_hosts: self.allow_host,
            origins: self.cors,
            head_time: HEAD_TIME,
            max_body: self.max_body,
            max_requests: self.max_requests as usize,
            max_requests_per_key: self.max_requests_per_key as usize,
            longest_wait: self.max_wait,
            longest: Some(self.timeout),
            grace: self.grace,
            pictures,
            scheduler: SchedulerOptions {
                memory_limit: self.engine.memory_limit,
                cache_limit: self.cache_limit,
                ..SchedulerOptions::default()
            },
            keep: self.ttl,
            preload,
            log: !self.quiet,
        };
        let catalogue = Catalogue::new(places, named, self.alias);
        monocle_server::server::serve(options, catalogue, Arc::new(maker), &|address| {
            output::note(&format!("listening on http://{address}"));
        })?;
        Ok(())
    }

    fn keys(&self) -> anyhow::Result<Vec<String>> {
        let mut keys = self.api_key.clone();
        if let Some(file) = &self.api_key_file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the keys in `{}`", file.display()))?;
            let lines = text.lines().map(str::trim);
            keys.extend(
                lines
                    .filter(|line| !line.is_empty() && !line.starts_with('#'))
                    .map(str::to_owned),
            );
            anyhow::ensure!(
                !keys.is_empty(),
                "there is no key in `{}`; expected one a line",
                file.display()
            );
        }
        match keys.iter().any(|key| key.trim().is_empty()) {
            true => Err(Misuse("a key must not be empty".to_owned()).into()),
            false => Ok(keys),
        }
    }
}

fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((alias, model)) if !alias.is_empty() && !model.is_empty() => {
            Ok((alias.to_owned(), model.to_owned()))
        }
        _ => Err("expected a name and a model, like `gpt-4o=shapes`".to_owned()),
    }
}

fn keep(text: &str) -> Result<KeepAlive, String> {
    KeepAlive::parse_text(text).ok_or_else(|| "expected a time, like `5m`, `300` or `-1`".to_owned())
}
