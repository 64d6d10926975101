//! Which servers a picture may be fetched from, where that is a list.

use url::{Host, Url};

/// A list of servers: see [`AllowedHosts::parse`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// Any server with a public address, on the usual ports.
    any: bool,
    named: Vec<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    host: Host<String>,
    /// `None`: 80 and 443.
    port: Option<u16>,
}

/// What is no server's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a server's name, like `pictures.example.org` or `192.168.1.5:8080`, or `*` for any public one, found `{0}`"
)]
pub struct NotAHost(String);

impl AllowedHosts {
    /// Reads names: `example.org`, `example.org:8080`, `192.168.1.5`, `[::1]:8080`, or `*` for every server with a public address. Only a server
    /// that is named by its address, or as `localhost`, may be one of this machine or of a local network.
    pub fn parse<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Self, NotAHost> {
        let mut hosts = Self::default();
        for name in names {
            let name = name.as_ref().trim();
            if name == "*" {
                hosts.any = true;
                continue;
            }
            let wrong = || NotAHost(name.to_owned());
            // The rules of URLs decide what a host is: `0x7f.1` is 127.0.0.1.
            let url = Url::parse(&format!("http://{name}/")).map_err(|_| wrong())?;
            let bare = url.username().is_empty()
                && url.password().is_none()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && !name.ends_with('/');
            let host = url.host().filter(|_| bare).ok_or_else(wrong)?.to_owned();
            hosts.named.push(Named {
                host: plain(host),
                port: url.port(),
            });
        }
        Ok(hosts)
    }

    /// Whether no server is allowed.
    pub fn is_empty(&self) -> bool {
        !self.any && self.named.is_empty()
    }

    /// Why an address may not be asked, if that is so.
    pub(crate) fn check(&self, url: &Url) -> Result<(), String> {
        let port = url.port_or_known_default();
        let usual = matches!(port, Some(80 | 443));
        if self.any && usual {
            return Ok(());
        }
        let Some(host) = url.host().map(|host| plain(host.to_owned())) else {
            return Err("it names no server".to_owned());
        };
        let same = |named: &&Named| named.host == host;
        let mut named = self.named.iter().filter(same).peekable();
        if named.peek().is_none() && !self.any {
            return Err("pictures are not fetched from this server".to_owned());
        }
        match named.any(|named| match named.port {
            None => usual,
            wanted => wanted == port,
        }) {
            true => Ok(()),
            false => Err("pictures are not fetched from this port".to_owned()),
        }
    }

    /// Whether an address stands in the list by itself: it may lie in a local network then.
    pub(crate) fn names_address(&self, url: &Url) -> bool {
        let host = url.host().map(|host| plain(host.to_owned()));
        let by_address = match &host {
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        by_address && self.named.iter().any(|named| Some(&named.host) == host.as_ref())
    }
}

/// Without the dot that may end a name.
fn plain(host: Host<impl Into<String>>) -> Host<String> {
    match host {
        Host::Domain(name) => {
            let name: String = name.into();
            Host::Domain(name.trim_end_matches('.').to_owned())
        }
        Host::Ipv4(address) => Host::Ipv4(address),
        Host::Ipv6(address) => Host::Ipv6(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(names: &[&str], address: &str) -> bool {
        let hosts = AllowedHosts::parse(names).expect("names of servers");
        hosts.check(&Url::parse(address).expect("an address")).is_ok()
    }

    #[test]
    fn names_and_ports_are_compared_as_urls_have_them() {
        assert!(allowed(&["example.org"], "https://EXAMPLE.org./a.png"));
        assert!(!allowed(&["example.org"], "https://example.org.evil.net/a.png"));
        assert!(!allowed(&["example.org"], "https://a.example.org/a.png"));
        assert!(!allowed(&["example.org"], "https://example.org:8080/a.png"));
        assert!(allowed(&["example.org:8080"], "http://example.org:8080/a.png"));
        assert!(!allowed(&["example.org:8080"], "http://example.org/a.png"));
        assert!(allowed(&["127.0.0.1:99"], "http://0x7f.1:99/a.png"));
        assert!(!allowed(&["example.org"], "http://example.org@127.0.0.1/a.png"));
        assert!(allowed(&["*"], "https://anything.net/"));
        assert!(!allowed(&["*"], "https://anything.net:22/"));
        assert!(!allowed(&[], "https://anything.net/"));
    }

    #[test]
    fn only_addresses_themselves_may_be_private() {
        let hosts = AllowedHosts::parse(["127.0.0.1:99", "intranet.example", "*"]).expect("names");
        let names = |address: &str| hosts.names_address(&Url::parse(address).expect("an address"));
        assert!(names("http://127.0.0.1:99/"));
        assert!(!names("http://127.0.0.2:99/"));
        assert!(!names("http://intranet.example/"));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for name in [
            "",
            "a b",
            "http://a.org",
            "a.org/x",
            "u@a.org",
            "a.org?x",
            "a.org:99999",
        ] {
            assert!(AllowedHosts::parse([name]).is_err(), "{name}");
        }
    }
}
