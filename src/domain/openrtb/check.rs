//! What a BidRequest must be to be answered at all.

use std::collections::HashSet;

use serde_json::error::Category;

use super::{
    native,
    refusal::Refusal,
    request::{BidRequest, FormatObject, Imp, Int, Object, at_least_zero, member},
};
use crate::domain::values::read_json;

/// Reads a request.
///
/// # Errors
/// It must be refused.
pub fn read(body: &[u8]) -> Result<BidRequest<'_>, Refusal> {
    let request: Object<BidRequest<'_>> = read_json(body).map_err(|error| match error.classify() {
        Category::Data => Refusal::Type,
        _ => Refusal::Json,
    })?;
    let request = request.into_inner();
    check(&request)?;
    Ok(request)
}

/// Checks a request that has been read, as [`read`] does.
///
/// # Errors
/// It must be refused.
pub fn check(request: &BidRequest<'_>) -> Result<(), Refusal> {
    let must = |holds: bool, refusal| if holds { Ok(()) } else { Err(refusal) };
    must(request.id.as_ref().is_some_and(|id| !id.is_empty()), Refusal::Id)?;
    let imps = request.imp.as_deref().unwrap_or_default();
    must(!imps.is_empty(), Refusal::Imp)?;
    let places = [request.site.is_some(), request.app.is_some(), request.dooh.is_some()];
    must(places.into_iter().filter(|is| *is).count() <= 1, Refusal::Distribution)?;
    must(at_least_zero(&[request.tmax]), Refusal::Negative)?;
    if let Some(regs) = &request.regs {
        let said = regs.gdpr.map(|gdpr| gdpr.0).or_else(|| member(regs.ext, "gdpr"));
        must(said.is_none_or(|gdpr: i64| gdpr == 0 || gdpr == 1), Refusal::Gdpr)?;
    }
    if let Some(device) = &request.device {
        must(at_least_zero(&[device.w, device.h]), Refusal::Negative)?;
    }
    let mut ids = HashSet::new();
    for imp in imps {
        let id = imp.id.as_deref().unwrap_or_default();
        must(!id.is_empty() && (imps.len() == 1 || ids.insert(id)), Refusal::ImpId)?;
        check_imp(imp)?;
    }
    Ok(())
}

fn check_imp(imp: &Imp<'_>) -> Result<(), Refusal> {
    let must = |holds: bool, refusal| if holds { Ok(()) } else { Err(refusal) };
    let media = imp.banner.is_some() || imp.video.is_some() || imp.audio.is_some() || imp.native.is_some();
    must(media, Refusal::Media)?;
    if let Some(banner) = &imp.banner {
        must(at_least_zero(&[banner.w, banner.h]), Refusal::Negative)?;
        check_formats(banner.format.as_deref().unwrap_or_default())?;
    }
    for player in [&imp.video, &imp.audio].into_iter().flatten() {
        must(player.mimes.as_ref().is_some_and(|mimes| !mimes.is_empty()), Refusal::Mimes)?;
        let numbers =
            [player.w, player.h, player.minduration, player.maxduration, player.minbitrate, player.maxbitrate];
        must(at_least_zero(&numbers), Refusal::Negative)?;
    }
    if let Some(native) = &imp.native {
        native::parse(native.request)?;
    }
    let deals = imp.pmp.as_ref().and_then(|pmp| pmp.deals.as_deref()).unwrap_or_default();
    must(deals.iter().all(|deal| deal.id.as_ref().is_some_and(|id| !id.is_empty())), Refusal::Deal)?;
    let metrics = imp.metric.as_deref().unwrap_or_default();
    must(metrics.iter().all(|metric| metric.kind.is_some() && metric.value.is_some()), Refusal::Metric)?;
    must(imp.bidfloor.is_none_or(|floor| floor >= 0.0), Refusal::Negative)
}

fn check_formats(formats: &[Object<FormatObject<'_>>]) -> Result<(), Refusal> {
    for format in formats {
        let all = [format.w, format.h, format.wratio, format.hratio, format.wmin];
        if !at_least_zero(&all) {
            return Err(Refusal::Negative);
        }
        let has = |number: Option<Int>| number.is_some_and(|number| number.0 > 0);
        let [w, h, wratio, hratio, wmin] = all.map(has);
        let (size, ratio) = (w || h, wratio || hratio || wmin);
        if size == ratio || size != (w && h) || ratio != (wratio && hratio && wmin) {
            return Err(Refusal::Format);
        }
    }
    Ok(())
}
