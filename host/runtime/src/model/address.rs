//! A repository as people paste it: the address of its page on the hub.

use super::error::ModelError;

/// A repository, and the revision if the address names one.
#[derive(Debug, PartialEq, Eq)]
pub struct Address {
    /// `organisation/name`
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: Option<String>,
}

/// The hub's names, the short one included; addresses may leave out `https://` before them.
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];

impl Address {
    /// What an address names; nothing where it is none. `endpoint` is the hub in use, which may be another one.
    pub fn parse(asked: &str, endpoint: &str) -> Option<Result<Self, ModelError>> {
        let bare = |address: &str| -> Option<String> {
            let address = ["https://", "http://"]
                .iter()
                .find_map(|scheme| address.strip_prefix(scheme))?;
            Some(address.to_owned())
        };
        let is_address = bare(asked).is_some();
        let rest = bare(asked).unwrap_or_else(|| asked.to_owned());
        let own = bare(endpoint).unwrap_or_default();
        let path = HOSTS
            .into_iter()
            .chain([own.trim_end_matches('/')])
            .filter(|host| !host.is_empty())
            .find_map(|host| rest.strip_prefix(host)?.strip_prefix('/'));
        let wrong = || {
            let asked = asked.to_owned();
            Err(ModelError::Address { asked })
        };
        match path {
            None => is_address.then(wrong),
            Some(path) => Some(Self::of_path(path).map_or_else(wrong, Ok)),
        }
    }

    fn of_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next()?;
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (organisation, name, revision) = match parts[..] {
            [organisation, name] | [organisation, name, "tree"] => (organisation, name, None),
            // Pages of pull requests write `refs/pr/1` in one part.
            [organisation, name, "tree", revision] => (
                organisation,
                name,
                Some(revision.replace("%2F", "/").replace("%2f", "/")),
            ),
            [organisation, name, "tree", "refs", kind, number] => {
                (organisation, name, Some(format!("refs/{kind}/{number}")))
            }
            _ => return None,
        };
        // Other things than models have two parts, too: `datasets/NAME`.
        let other = ["datasets", "spaces", "docs", "collections", "papers", "blog"].contains(&organisation);
        let repo = format!("{organisation}/{name}");
        (!other && super::locate::is_repository(&repo)).then_some(Self { repo, revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(asked: &str) -> Option<Option<(String, Option<String>)>> {
        let address = Address::parse(asked, "https://mirror.example/hub/")?;
        Some(address.ok().map(|address| (address.repo, address.revision)))
    }

    #[test]
    fn addresses_of_models() {
        let model =
            |revision: Option<&str>| Some(Some(("Org/Some.Name-2B".to_owned(), revision.map(str::to_owned))));
        for (asked, revision) in [
            ("https://huggingface.co/Org/Some.Name-2B", None),
            ("https://huggingface.co/Org/Some.Name-2B/", None),
            ("http://huggingface.co/Org/Some.Name-2B", None),
            ("https://www.huggingface.co/Org/Some.Name-2B", None),
            ("https://hf.co/Org/Some.Name-2B", None),
            ("huggingface.co/Org/Some.Name-2B", None),
            ("hf.co/Org/Some.Name-2B", None),
            (
                "https://huggingface.co/Org/Some.Name-2B?library=transformers",
                None,
            ),
            ("https://huggingface.co/Org/Some.Name-2B#use", None),
            ("https://huggingface.co/Org/Some.Name-2B/tree/main", Some("main")),
            ("https://hf.co/Org/Some.Name-2B/tree/v1.0/", Some("v1.0")),
            (
                "https://huggingface.co/Org/Some.Name-2B/tree/refs%2Fpr%2F3",
                Some("refs/pr/3"),
            ),
            (
                "https://huggingface.co/Org/Some.Name-2B/tree/refs/pr/3",
                Some("refs/pr/3"),
            ),
            ("https://mirror.example/hub/Org/Some.Name-2B", None),
        ] {
            assert_eq!(parsed(asked), model(revision), "{asked}");
        }
    }

    #[test]
    fn other_addresses_are_refused_and_names_are_none() {
        for asked in [
            "https://huggingface.co/Org",
            "https://huggingface.co/",
            "https://huggingface.co/datasets/name",
            "https://huggingface.co/datasets/Org/name",
            "https://huggingface.co/Org/Name/blob/main/config.json",
            "https://huggingface.co/Org/Name/tree/main/sub/folder",
            "https://huggingface.co/../Name",
            "https://huggingface.com.example/Org/Name",
            "https://example.org/Org/Name",
        ] {
            assert_eq!(parsed(asked), Some(None), "{asked}");
        }
        for asked in [
            "Org/Name",
            "shapes",
            "./hf.co",
            "hf.co",
            "folder/huggingface.co/Org",
        ] {
            assert_eq!(parsed(asked), None, "{asked}");
        }
    }
}
