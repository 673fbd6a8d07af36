//! What stands in the address of a tag, as far as it can be read.

use axum::http::{HeaderMap, HeaderName, header};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    domain::{
        audience::{
            context::{Context, host},
            value::Folded,
        },
        creative::{ClickMacro, VastVersion, WebUrl},
        ids::{LineItemId, UserKey},
        measurement::user_token,
        values::{Millis, Size},
    },
    http::browser::{PageConsent, visitor},
};

/// What stands in the address of a tag. Ad servers add parameters of their own and leave macros that
/// they do not know as they are; what cannot be read is as if it were not there, but for privacy
/// signals, which then allow nothing.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TagQuery {
    /// Whom the page's server has signed in. The name of a person alone is never taken.
    user_token: Option<String>,
    /// The first-party id that `/v1/tessera.js` keeps. Ignored with a `user_token`.
    #[param(pattern = "^[0-9a-f]{32}$")]
    visitor: Option<String>,
    /// Sizes, such as `300x250` or `300x250,336x280`. Default: those of the placement or the creative.
    size: Option<String>,
    /// The ad server's click address, expanded and percent-encoded, before which ours is put: in Google Ad
    /// Manager `%%CLICK_URL_ESC%%`, in Xandr and DV360 `${CLICK_URL_ENC}`.
    click: Option<String>,
    /// `1` where the GDPR applies, `0` where it does not; anything else is taken for `1`.
    gdpr: Option<String>,
    /// An IAB TCF string.
    gdpr_consent: Option<String>,
    /// An IAB GPP string.
    gpp: Option<String>,
    /// The GPP sections that apply, with commas or underscores between.
    gpp_sid: Option<String>,
    /// An IAB US privacy string.
    us_privacy: Option<String>,
    /// `1` where the children's privacy rule (COPPA) applies; anything but `0` and nothing is taken for it.
    coppa: Option<String>,
    /// `1` where the browser says that the person opted out; anything but `0` and nothing is taken for it. Browsers
    /// that say so with each request need not be asked.
    gpc: Option<String>,
    /// What the page is about: words with commas between.
    kw: Option<String>,
    /// Anything that differs, so that nothing between keeps the answer: in Google Ad Manager
    /// `%%CACHEBUSTER%%`, in Xandr and DV360 `${CACHEBUSTER}`.
    #[serde(rename = "cb")]
    #[param(rename = "cb")]
    _cb: Option<String>,
    /// `.xml`: the version of VAST, `2.0`, `3.0`, `4.0`, `4.1` or `4.2`.
    #[param(default = "4.2")]
    v: Option<String>,
    /// `.xml`: the shortest video, in ms.
    pub(super) min_duration_ms: Option<String>,
    /// `.xml`: the longest video, in ms.
    pub(super) max_duration_ms: Option<String>,
    /// `1`: decide, show nothing and count nothing but for the report on shadow mode. For a trial beside
    /// the tag of another ad server.
    shadow: Option<String>,
    /// What the ad server calls the line under which it serves, for that report: in Google Ad Manager
    /// `%eaid!`, in Xandr `${CP_ID}`, in DV360 `${CAMPAIGN_ID}`.
    line_item: Option<String>,
    /// How long the loader waits before it shows the backup image, 50 to 10000 ms.
    #[serde(rename = "timeout_ms")]
    #[param(rename = "timeout_ms", default = "400")]
    _timeout_ms: Option<String>,
    /// The address of the image that is shown where there is no ad; by the loader also when there is no answer in
    /// time.
    backup: Option<String>,
}

impl TagQuery {
    /// Whoever is looking, in the account with this secret.
    pub(super) fn user(&self, secret: &[u8; 32], now: Millis) -> Option<UserKey> {
        match (said(&self.user_token), said(&self.visitor)) {
            (Some(token), _) => user_token::verify(secret, token, now),
            (None, Some(id)) => visitor(id),
            (None, None) => None,
        }
    }

    pub(super) fn sizes(&self) -> Vec<Size> {
        let named = said(&self.size).unwrap_or_default().split(',').filter_map(|size| size.trim().parse().ok());
        named.take(32).collect()
    }

    pub(super) fn click(&self) -> Option<ClickMacro> {
        click_prefix(said(&self.click)?)
    }

    pub(super) fn is_shadow(&self) -> bool {
        said(&self.shadow) == Some("1")
    }

    /// What a document shows where there is no ad: the backup image, if there is one, in the first of the sizes.
    pub(super) fn instead(&self) -> Option<String> {
        // beside the tag of another ad server nothing is shown in any case
        let backup: WebUrl = said(&self.backup).filter(|_| !self.is_shadow())?.parse().ok()?;
        let sides = self.sizes().first().map(|size| format!(" width=\"{}\" height=\"{}\"", size.width, size.height));
        // of what markup could mean, an address has nothing else
        let src = backup.as_str().replace('&', "&amp;");
        Some(format!("<style>body{{margin:0}}</style><img src=\"{src}\" alt=\"\"{}>", sides.unwrap_or_default()))
    }

    /// The line item; none where the macro was left as it is.
    pub(super) fn line_item(&self) -> Option<LineItemId> {
        said(&self.line_item)?.parse().ok()
    }

    pub(super) fn version(&self) -> VastVersion {
        said(&self.v).and_then(|version| version.parse().ok()).unwrap_or_default()
    }

    pub(super) fn ms(&self, of: &Option<String>) -> Option<u32> {
        said(of)?.parse().ok().filter(|ms| *ms > 0)
    }

    pub(super) fn keywords(&self) -> Vec<String> {
        let words = said(&self.kw).unwrap_or_default().split(',').map(str::trim);
        words.filter(|word| (1..=128).contains(&word.len())).take(64).map(str::to_owned).collect()
    }

    pub(super) fn consent(&self) -> PageConsent {
        let of = |text: &Option<String>| said(text).map(str::to_owned);
        PageConsent::told(
            self.gdpr.clone(),
            of(&self.gdpr_consent),
            (of(&self.gpp), said(&self.gpp_sid)),
            of(&self.us_privacy),
            self.coppa.clone(),
            self.gpc.clone(),
        )
    }
}

/// Where clicks pass first. A macro that nobody expanded leads nowhere, so it is left out.
pub(in crate::http) fn click_prefix(text: &str) -> Option<ClickMacro> {
    let mut url = text.to_owned();
    // encoded more often than the address needs
    for _ in 0..2 {
        if url.get(..7).is_some_and(|head| head.contains('%')) {
            url = decoded(&url);
        }
    }
    let web = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    url.parse().ok().filter(|_| web)
}

/// Where and in which language, as browsers tell it.
pub(super) fn context(headers: &HeaderMap) -> Context {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let language = text(header::ACCEPT_LANGUAGE).and_then(|all| all.split([',', ';']).next()?.trim().parse().ok());
    let domain = text(header::REFERER).and_then(host).filter(|host| host.len() <= 253).map(Folded::new);
    Context { language, domain, ..Context::default() }
}

fn said(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A text without one layer of percent-encoding; as it was, where that leaves no UTF-8.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clicks_pass_where_the_ad_server_wants_them() {
        let link = |click: &str| {
            let query = TagQuery { click: Some(click.into()), ..TagQuery::default() };
            query.click().map(|click| click.link("https://t.example/c?x=1"))
        };
        let passed = "https://ad.example/c?a=1&u=https%3A%2F%2Ft.example%2Fc%3Fx%3D1";
        let ways = [
            "https://ad.example/c?a=1&u=",
            "https%3A%2F%2Fad.example%2Fc%3Fa%3D1%26u%3D",
            "https%253A%252F%252Fad.example%252Fc%253Fa%253D1%2526u%253D",
        ];
        for way in ways {
            assert_eq!(link(way).as_deref(), Some(passed), "{way}");
        }
        for left_out in
            ["", "%%CLICK_URL_ESC%%", "%%CLICK_URL_UNESC%%", "${CLICK_URL}", "javascript:alert(1)//", "%%", "%"]
        {
            assert_eq!(link(left_out), None, "{left_out}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out_but_for_consent() {
        let query = TagQuery {
            size: Some("300x250, 728x90,%%WIDTH%%x,0x0".into()),
            kw: Some("shoes,, running ".into()),
            gdpr: Some("${GDPR}".into()),
            gpp_sid: Some("7_x".into()),
            us_privacy: Some(String::new()),
            ..TagQuery::default()
        };
        assert_eq!(query.sizes().iter().map(ToString::to_string).collect::<Vec<_>>(), ["300x250", "728x90"]);
        assert_eq!(query.keywords(), ["shoes", "running"]);
        let consent = query.consent();
        assert_eq!((consent.gdpr, consent.us_privacy), (Some(true), None));
        assert_eq!(consent.gpp_sid, [7, i32::MAX]);
    }

    #[test]
    fn a_backup_image_stays_an_image() {
        let instead = |backup: &str, size: &str, shadow: &str| {
            let of = |text: &str| Some(text.to_owned());
            TagQuery { backup: of(backup), size: of(size), shadow: of(shadow), ..TagQuery::default() }.instead()
        };
        let image = "<style>body{margin:0}</style><img src=\"https://cdn.example/b.png?a=1&amp;b=2\" alt=\"\"";
        let url = "https://cdn.example/b.png?a=1&b=2";
        assert_eq!(instead(url, "300x250,728x90", ""), Some(format!("{image} width=\"300\" height=\"250\">")));
        assert_eq!(instead(url, "", "0"), Some(format!("{image}>")));
        assert_eq!(instead(url, "", "1"), None, "in shadow mode nothing is shown");
        for none in ["", "javascript:alert(1)", "data:image/png;base64,AA", "//cdn.example/b.png", "${BACKUP}"] {
            assert_eq!(instead(none, "", ""), None, "{none}");
        }
        let hostile = instead("https://cdn.example/\"onerror='alert(1)'><script>&quot;", "", "").expect("an image");
        assert_eq!(
            hostile.matches(['"', '\'', '<', '>', ' ']).count(),
            image.matches(['"', '\'', '<', '>', ' ']).count() + 1
        );
        assert!(hostile.contains("&amp;quot;"), "{hostile}");
    }

    #[test]
    fn nobody_is_named_but_by_token_or_by_the_scripts_id() {
        let secret = [7; 32];
        let anna: UserKey = "anna".parse().expect("a key");
        let token = user_token::sign(&secret, &anna, Millis(1_000));
        let user = |token: &str, visitor: &str| {
            let query =
                TagQuery { user_token: Some(token.into()), visitor: Some(visitor.into()), ..TagQuery::default() };
            query.user(&secret, Millis(999)).map(|key| key.as_str().to_owned())
        };
        assert_eq!(user(&token, "").as_deref(), Some("anna"));
        assert_eq!(user("anna", ""), None);
        assert_eq!(user("", "anna"), None);
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(user("", id), Some(format!("web:{id}")));
        assert_eq!(user("forged", id), None, "a token that does not hold names nobody");
    }
}
