//! Getting what lies at an address, from a server that may lie, stall or hang up.
//!
//! Everything that Monocle fetches goes through [`Client::get`]. Where it may go is the caller's to say, for the first address and for
//! each that a redirect leads to ([`Route`]); so is how long it may take ([`Limits`]). A body is read only as far as the caller
//! allows. Nothing is tried twice: what failed is said at once.
//!
//! A name is looked up once for each connection, and the connection goes to an address that came of it: what is checked is what is
//! asked ([`Client::of_public_addresses`]).

use std::io::Read;
use std::time::{Duration, Instant};

use thiserror::Error;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::{HeaderMap, Uri};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody, Proxy, Timeout};
use url::{Host, Url};

use crate::address::is_public;

/// Longest time for one connection to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// What an address may lead to: `from` is where a redirect came from, or nothing for the first address. Words say why not.
pub type Route<'a> = &'a dyn Fn(Option<&Url>, &Url) -> Result<(), String>;

/// How much patience there is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest silence.
    pub silence: Duration,
    /// All of it: connections, redirects, and the body; none: as long as bytes come.
    pub total: Option<Duration>,
    /// How many redirects are followed.
    pub redirects: usize,
}

/// What to get.
#[derive(Debug)]
pub struct Request<'a> {
    /// The address.
    pub url: Url,
    /// Proves who asks. It goes to the address's own server only, and only where [`is_private`] is true.
    pub token: Option<&'a str>,
    /// Bytes that are already here.
    pub from: u64,
    /// How long to wait.
    pub limits: Limits,
}

/// What to send as JSON.
#[derive(Debug)]
pub struct Post<'a> {
    /// The address. A redirect is not followed.
    pub url: Url,
    /// Proves who asks; it is sent only where [`is_private`] is true.
    pub token: Option<&'a str>,
    /// JSON.
    pub body: &'a [u8],
    /// How long to wait.
    pub limits: Limits,
}

/// What to send.
#[derive(Debug)]
pub struct Sending<'a> {
    /// `GET`, `PUT` and so on.
    pub method: &'a str,
    /// The address.
    pub url: Url,
    /// Besides the usual ones.
    pub headers: Vec<(&'a str, String)>,
    /// The body.
    pub body: &'a [u8],
    /// How long to wait.
    pub limits: Limits,
}

/// Why nothing, or not all, came.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Where it must not go.
    #[error("`{url}` is not asked: {reason}")]
    Refused {
        /// The address, without its query.
        url: String,
        /// Why not.
        reason: String,
    },
    /// An address of this machine or of a local network.
    #[error(
        "`{url}` is not asked: it is not a public address, but one of this machine or of a local network"
    )]
    NotPublic {
        /// The address, without its query.
        url: String,
    },
    /// No connection.
    #[error("{0}")]
    Unreachable(String),
    /// Connected, and then nothing for too long.
    #[error("it sent nothing for {} seconds", .0.as_secs_f32())]
    Silent(Duration),
    /// Longer than all of it may take.
    #[error("it took more than {} seconds", .0.as_secs_f32())]
    Slow(Duration),
    /// The connection ended too early.
    #[error("it hung up")]
    HungUp,
    /// More bytes than wanted.
    #[error("it sends more than {0} bytes")]
    TooLong(u64),
    /// Redirects without end.
    #[error("it redirects more than {0} times")]
    Redirects(usize),
    /// What is no HTTP, or not what was asked for.
    #[error("its answer makes no sense: {0}")]
    Malformed(String),
}

/// Whether nobody else can read what is sent there: it is encrypted, or stays on this machine.
pub fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

/// A [`Route`]: anywhere by https; by http only where the user named such a server, and then only to that very server, or on this machine.
pub fn stay_encrypted(from: Option<&Url>, to: &Url) -> Result<(), String> {
    let is_user_named = |from: &Url| from.scheme() == "http" && from.origin() == to.origin();
    let on_this_machine = |from: &Url| from.scheme() == "http" && is_loopback(from) && is_loopback(to);
    let named = from.is_none_or(|from| is_user_named(from) || on_this_machine(from));
    match to.scheme() {
        _ if from.is_some() && (!to.username().is_empty() || to.password().is_some()) => {
            Err("a redirect must not name a user".to_owned())
        }
        "https" => Ok(()),
        "http" if named => Ok(()),
        "http" => Err("a redirect must stay on https".to_owned()),
        other => Err(format!("only https and http are known, not {}", shown(other))),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // RFC 6761, section 6.3: such names always mean this machine.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// A [`Route`] of somebody else's pictures: http and https, but never from https to http; no names of users, so no passwords go
/// anywhere; and after the first address only the usual ports, or the one that the first address names.
pub fn stay_on_the_web(first: &Url) -> impl Fn(Option<&Url>, &Url) -> Result<(), String> {
    let named = first.port();
    move |from, to| {
        if !matches!(to.scheme(), "http" | "https") {
            return Err(format!(
                "only https and http are known, not {}",
                shown(to.scheme())
            ));
        }
        if !to.username().is_empty() || to.password().is_some() {
            return Err("it names a user, and names and passwords are not sent".to_owned());
        }
        let Some(from) = from else { return Ok(()) };
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err("a redirect must stay on https".to_owned());
        }
        match to.port() {
            Some(port) if Some(port) != named && !matches!(port, 80 | 443) => {
                Err(format!("a redirect must not lead to the port {port}"))
            }
            _ => Ok(()),
        }
    }
}

/// Somebody else's words, as far as they may go into a message.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// An address as it may go into a message: without what may prove who asks.
pub fn shown_url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    shown(url.as_str())
}

/// Asks servers; connections are kept between requests. By default proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY` and
/// so on), but never for this machine itself.
#[derive(Debug)]
pub struct Client {
    direct: Agent,
    proxied: Option<Agent>,
}

impl Default for Client {
    fn default() -> Self {
        Self::through_proxies(config)
    }
}

fn config(proxy: Option<Proxy>) -> Config {
    builder(proxy).build()
}

fn builder(proxy: Option<Proxy>) -> ConfigBuilder<AgentScope> {
    let roots = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::PlatformVerifier)
        .build();
    Agent::config_builder()
        .proxy(proxy)
        .tls_config(roots)
        .user_agent(concat!("monocle/", env!("CARGO_PKG_VERSION")))
        // Bytes are checked as they come, so nobody may pack them on the way.
        .accept_encoding("identity")
        .http_status_as_error(false)
        // Each redirect is looked at here first.
        .max_redirects(0)
}

/// Lets only public addresses through. ureq connects to what this returns and looks up nothing else.
#[derive(Debug)]
struct OnlyPublic<R>(R);

/// Nothing public was found.
#[derive(Debug, Error)]
#[error("not a public address")]
struct NothingPublic;

impl<R: Resolver> Resolver for OnlyPublic<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        let mut public = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip())) {
            public.push(*address);
        }
        match public.is_empty() {
            true => Err(ureq::Error::Other(Box::new(NothingPublic))),
            false => Ok(public),
        }
    }
}

impl Client {
    /// Asks public addresses only, itself: behind a proxy nobody here knows which address is asked.
    pub fn of_public_addresses() -> Self {
        Self::looking_up(OnlyPublic(DefaultResolver::default()))
    }

    /// Asks on a new connection each time, for servers that close used ones without a word.
    pub fn without_reuse() -> Self {
        Self::through_proxies(|proxy| builder(proxy).max_idle_connections(0).build())
    }

    /// Asks any address, itself.
    pub fn without_proxy() -> Self {
        Self::looking_up(DefaultResolver::default())
    }

    /// Asks any address, through the proxy that the environment names.
    fn through_proxies(config: impl Fn(Option<Proxy>) -> Config) -> Self {
        Self {
            direct: config(None).new_agent(),
            proxied: Proxy::try_from_env().map(|proxy| config(Some(proxy)).new_agent()),
        }
    }

    fn looking_up(resolver: impl Resolver) -> Self {
        Self {
            direct: Agent::with_parts(config(None), DefaultConnector::default(), resolver),
            proxied: None,
        }
    }

    /// Asks for an address, follows redirects as far as `route` lets it, and returns the answer with its body unread.
    pub fn get(&self, request: &Request, route: Route) -> Result<Answer, HttpError> {
        let started = Instant::now();
        let mut url = request.url.clone();
        check(route, None, &url)?;
        for _ in 0..=request.limits.redirects {
            let answer = self.ask(request, &url, started)?;
            if ![301, 302, 303, 307, 308].contains(&answer.status) {
                return Ok(answer);
            }
            let target = answer
                .header("location")
                .ok_or_else(|| HttpError::Malformed("a redirect that leads nowhere".to_owned()))?;
            let next = url
                .join(target)
                .map_err(|error| HttpError::Malformed(format!("a redirect to {}: {error}", shown(target))))?;
            check(route, Some(&url), &next)?;
            url = next;
        }
        Err(HttpError::Redirects(request.limits.redirects))
    }

    /// Sends something to exactly this address, and returns the answer with its body unread; a redirect is an answer.
    pub fn send(&self, sending: &Sending) -> Result<Answer, HttpError> {
        let (url, limits) = (&sending.url, sending.limits);
        check(&stay_encrypted, None, url)?;
        let mut request = ureq::http::Request::builder()
            .method(sending.method)
            .uri(url.as_str());
        for (name, value) in &sending.headers {
            request = request.header(*name, value);
        }
        let request = request.body(sending.body).map_err(malformed)?;
        self.exchange(url, request, limits, limits.total)
    }

    /// One request and its answer, with its body unread; `left` is what is left of the time for all.
    fn exchange(
        &self,
        url: &Url,
        request: ureq::http::Request<impl AsSendBody>,
        limits: Limits,
        left: Option<Duration>,
    ) -> Result<Answer, HttpError> {
        let agent = self.agent(url);
        let request = agent
            .configure_request(request)
            .timeout_resolve(Some(limits.silence.min(CONNECT)))
            .timeout_connect(Some(limits.silence.min(CONNECT)))
            .timeout_send_request(Some(limits.silence))
            .timeout_send_body(Some(limits.silence))
            .timeout_recv_response(Some(limits.silence))
            .timeout_per_read(Some(limits.silence))
            .timeout_global(left)
            .build();
        let answer = agent.run(request).map_err(|error| match error {
            ureq::Error::Other(error) if error.is::<NothingPublic>() => {
                HttpError::NotPublic { url: shown_url(url) }
            }
            error => in_words(error, limits),
        })?;
        Ok(Answer::new(answer, limits))
    }

    /// What asks there.
    fn agent(&self, url: &Url) -> &Agent {
        self.proxied
            .as_ref()
            .filter(|_| !is_loopback(url))
            .unwrap_or(&self.direct)
    }

    fn ask(&self, request: &Request, url: &Url, started: Instant) -> Result<Answer, HttpError> {
        let limits = request.limits;
        let left = match limits.total {
            Some(total) => {
                let left = total.saturating_sub(started.elapsed());
                if left.is_zero() {
                    return Err(HttpError::Slow(total));
                }
                Some(left)
            }
            None => None,
        };
        let mut call = ureq::http::Request::get(url.as_str());
        if let Some(token) = request.token
            && url.origin() == request.url.origin()
            && is_private(url)
        {
            call = call.header("Authorization", format!("Bearer {token}"));
        }
        if request.from > 0 {
            call = call.header("Range", format!("bytes={}-", request.from));
        }
        self.exchange(url, call.body(()).map_err(malformed)?, limits, left)
    }

    /// Sends JSON to the address that the user named, and returns the answer with its body unread.
    pub fn post(&self, post: &Post) -> Result<Answer, HttpError> {
        let mut headers = vec![("Content-Type", "application/json".to_owned())];
        if let Some(token) = post.token.filter(|_| is_private(&post.url)) {
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        self.send(&Sending {
            method: "POST",
            url: post.url.clone(),
            headers,
            body: post.body,
            limits: post.limits,
        })
    }
}

fn malformed(error: ureq::http::Error) -> HttpError {
    HttpError::Malformed(error.to_string())
}

fn check(route: Route, from: Option<&Url>, to: &Url) -> Result<(), HttpError> {
    route(from, to).map_err(|reason| HttpError::Refused {
        url: shown_url(to),
        reason,
    })
}

/// What a server says.
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: HeaderMap,
    body: ureq::BodyReader<'static>,
    limits: Limits,
}

impl Answer {
    fn new(answer: ureq::http::Response<ureq::Body>, limits: Limits) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.into_reader(),
            limits,
        }
    }

    /// A header's value, where it is readable text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the body will be, as the server says.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The next bytes of the body; none at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        self.body
            .read(buffer)
            .map_err(|error| in_words(error.into(), self.limits))
    }

    /// All of the body, which may have `most` bytes.
    pub fn read_all(mut self, most: u64) -> Result<Vec<u8>, HttpError> {
        let too_long = HttpError::TooLong(most);
        if self.length().is_some_and(|length| length > most) {
            return Err(too_long);
        }
        let mut bytes = Vec::new();
        let read = self
            .body
            .by_ref()
            .take(most.saturating_add(1))
            .read_to_end(&mut bytes);
        read.map_err(|error| in_words(error.into(), self.limits))?;
        match bytes.len() as u64 > most {
            true => Err(too_long),
            false => Ok(bytes),
        }
    }
}

fn in_words(error: ureq::Error, limits: Limits) -> HttpError {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Timeout(Timeout::Global) => HttpError::Slow(limits.total.unwrap_or_default()),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => HttpError::Unreachable(format!(
            "no connection within {} seconds",
            limits.silence.min(CONNECT).as_secs_f32()
        )),
        ureq::Error::Timeout(_) => HttpError::Silent(limits.silence),
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => HttpError::HungUp,
            _ => HttpError::Unreachable(causes(&error)),
        },
        ureq::Error::HostNotFound => HttpError::Unreachable("there is no such host".to_owned()),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            HttpError::Malformed(shown(&causes(&error)))
        }
        other => HttpError::Unreachable(shown(&causes(&other))),
    }
}

/// An error with what caused it: transport errors say little by themselves.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn tokens_go_only_where_nobody_else_reads_them() {
        for private in [
            "https://huggingface.co/x",
            "http://127.0.0.1:1/",
            "http://127.9.9.9/",
            "http://[::1]:80/",
            "http://localhost:8080/",
            "http://LOCALHOST/",
            "http://hub.localhost/",
            // Other spellings of 127.0.0.1.
            "http://2130706433/",
            "http://0x7f.1/",
        ] {
            assert!(is_private(&url(private)), "{private}");
        }
        for public in [
            "http://huggingface.co/",
            "http://mirror/",
            "http://192.168.0.1/",
            "http://0.0.0.0/",
            "http://localhost.example.org/",
            "http://notlocalhost/",
            "http://127.0.0.1.example.org/",
            "http://127.0.0.1@example.org/",
            "http://[2001:db8::1]/",
            "ftp://localhost/",
            "file:///etc/passwd",
        ] {
            assert!(!is_private(&url(public)), "{public}");
        }
    }

    /// Answers each question about a name with the next of these, as a server of names that changes its mind would.
    #[derive(Debug)]
    struct Changing {
        answers: Vec<Vec<SocketAddr>>,
        asked: Arc<AtomicUsize>,
    }

    impl Resolver for Changing {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            let mut found = self.empty();
            let answer = &self.answers[number.min(self.answers.len() - 1)];
            answer.iter().for_each(|address| found.push(*address));
            Ok(found)
        }
    }

    fn ask(client: &Client, address: &str) -> Result<Answer, HttpError> {
        let limits = Limits {
            silence: Duration::from_secs(2),
            total: Some(Duration::from_secs(4)),
            redirects: 3,
        };
        let url = url(address);
        let request = Request {
            url: url.clone(),
            token: None,
            from: 0,
            limits,
        };
        client.get(&request, &stay_on_the_web(&url))
    }

    /// A server whose name leads to a local address, at once or at the second question, is not asked; and there is no second question
    /// between the check and the connection.
    #[test]
    fn what_is_checked_is_what_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let changing = |answers: &[&[SocketAddr]]| Changing {
            answers: answers.iter().map(|answer| answer.to_vec()).collect(),
            asked: Arc::clone(&asked),
        };
        let client = Client::looking_up(OnlyPublic(changing(&[&[local]])));
        let refused = ask(&client, "http://name.example/x.png?secret").err();
        assert!(
            matches!(&refused, Some(HttpError::NotPublic { url }) if url == "http://name.example/x.png"),
            "{refused:?}"
        );
        assert_eq!(asked.swap(0, Ordering::SeqCst), 1);

        // Among public addresses, the local one is left out: nothing listens at the public one's port that a test could reach.
        let public: SocketAddr = "[2001:200::1]:9".parse().unwrap();
        let both = OnlyPublic(changing(&[&[local, public]]));
        let uri = Uri::from_static("http://name.example/");
        let kept = both.resolve(&uri, &config(None), NextTimeout::default()).unwrap();
        assert_eq!(kept.iter().collect::<Vec<_>>(), [&public]);
        asked.store(0, Ordering::SeqCst);
        assert!(listener.accept().is_err(), "nobody was connected to");

        // The address of the one answer is connected to, not that of a later one.
        listener.set_nonblocking(false).unwrap();
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let client = Client::looking_up(changing(&[&[local], &[nobody]]));
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        });
        let answer = ask(&client, "http://name.example/x.png").unwrap();
        assert_eq!(answer.read_all(10).unwrap(), b"hi");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        served.join().unwrap();
    }

    #[test]
    fn pictures_stay_on_the_web() {
        let first = url("https://a:8443/x");
        let route = stay_on_the_web(&first);
        let may = |from: &str, to: &str| route(Some(&url(from)), &url(to)).is_ok();
        assert!(may("https://a:8443/x", "https://b/x"));
        assert!(may("https://a:8443/x", "https://b:8443/x"));
        assert!(may("http://a/x", "http://b/x"));
        assert!(may("http://a/x", "https://b/x"));
        assert!(may("http://a/x", "https://b:80/x"));
        assert!(!may("https://a:8443/x", "http://a/x"));
        assert!(!may("http://a/x", "http://b:22/x"));
        assert!(!may("http://a/x", "http://u@b/x"));
        for other in ["ftp://b/x", "file:///etc/passwd", "data:image/png,x"] {
            assert!(!may("http://a/x", other), "{other}");
        }
    }

    #[test]
    fn redirects_stay_on_https() {
        let may = |from: &str, to: &str| stay_encrypted(Some(&url(from)), &url(to)).is_ok();
        assert!(may("https://a/x", "https://a/y"));
        assert!(may("https://a/x", "https://cdn.b/y?signed"));
        assert!(may("http://mirror/x", "https://a/y"));
        assert!(may("http://mirror/x", "http://mirror/y"));
        assert!(may("http://127.0.0.1:1/x", "http://localhost:2/y"));

        assert!(!may("https://a/x", "http://a/x"));
        assert!(!may("https://a/x", "http://127.0.0.1/x"));
        assert!(!may("https://localhost/x", "http://localhost/x"));
        assert!(!may("http://mirror/x", "http://169.254.169.254/latest"));
        assert!(!may("http://mirror/x", "http://mirror:81/y"));
        assert!(!may("http://127.0.0.1:1/x", "http://192.168.0.1/y"));
        for other in [
            "file:///etc/passwd",
            "ftp://a/x",
            "data:,x",
            "https://user:word@a/x",
        ] {
            assert!(!may("https://a/x", other), "{other}");
            assert!(!may("http://127.0.0.1:1/x", other), "{other}");
        }
        // What the user names.
        assert!(stay_encrypted(None, &url("http://mirror/")).is_ok());
        assert!(stay_encrypted(None, &url("file:///x")).is_err());
    }

    #[test]
    fn what_a_server_says_is_shown_without_control_characters_and_not_at_length() {
        assert_eq!(shown("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 121);
    }
}
