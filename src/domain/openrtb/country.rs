//! Countries as OpenRTB writes them: three letters (ISO 3166-1 alpha-3).

use crate::domain::values::Country;

/// Every country's three letters with its two behind them, in the order of the three.
const CODES: &str = "\
    ABWAWAFGAFAGOAOAIAAIALAAXALBALANDADAREAEARGARARMAMASMASATAAQATFTFATGAGAUSAUAUTATAZEAZBDIBIBELBEBENBJ\
    BESBQBFABFBGDBDBGRBGBHRBHBHSBSBIHBABLMBLBLRBYBLZBZBMUBMBOLBOBRABRBRBBBBRNBNBTNBTBVTBVBWABWCAFCFCANCA\
    CCKCCCHECHCHLCLCHNCNCIVCICMRCMCODCDCOGCGCOKCKCOLCOCOMKMCPVCVCRICRCUBCUCUWCWCXRCXCYMKYCYPCYCZECZDEUDE\
    DJIDJDMADMDNKDKDOMDODZADZECUECEGYEGERIERESHEHESPESESTEEETHETFINFIFJIFJFLKFKFRAFRFROFOFSMFMGABGAGBRGB\
    GEOGEGGYGGGHAGHGIBGIGINGNGLPGPGMBGMGNBGWGNQGQGRCGRGRDGDGRLGLGTMGTGUFGFGUMGUGUYGYHKGHKHMDHMHNDHNHRVHR\
    HTIHTHUNHUIDNIDIMNIMINDINIOTIOIRLIEIRNIRIRQIQISLISISRILITAITJAMJMJEYJEJORJOJPNJPKAZKZKENKEKGZKGKHMKH\
    KIRKIKNAKNKORKRKWTKWLAOLALBNLBLBRLRLBYLYLCALCLIELILKALKLSOLSLTULTLUXLULVALVMACMOMAFMFMARMAMCOMCMDAMD\
    MDGMGMDVMVMEXMXMHLMHMKDMKMLIMLMLTMTMMRMMMNEMEMNGMNMNPMPMOZMZMRTMRMSRMSMTQMQMUSMUMWIMWMYSMYMYTYTNAMNA\
    NCLNCNERNENFKNFNGANGNICNINIUNUNLDNLNORNONPLNPNRUNRNZLNZOMNOMPAKPKPANPAPCNPNPERPEPHLPHPLWPWPNGPGPOLPL\
    PRIPRPRKKPPRTPTPRYPYPSEPSPYFPFQATQAREUREROURORUSRURWARWSAUSASDNSDSENSNSGPSGSGSGSSHNSHSJMSJSLBSBSLESL\
    SLVSVSMRSMSOMSOSPMPMSRBRSSSDSSSTPSTSURSRSVKSKSVNSISWESESWZSZSXMSXSYCSCSYRSYTCATCTCDTDTGOTGTHATHTJKTJ\
    TKLTKTKMTMTLSTLTONTOTTOTTTUNTNTURTRTUVTVTWNTWTZATZUGAUGUKRUAUMIUMURYUYUSAUSUZBUZVATVAVCTVCVENVEVGBVG\
    VIRVIVNMVNVUTVUWLFWFWSMWSXKXXKYEMYEZAFZAZMBZMZWEZW";

/// The country of three letters, or of two, as some exchanges write it.
pub(super) fn country(code: &str) -> Option<Country> {
    let two = match code.len() {
        3 => {
            let (entries, _) = CODES.as_bytes().as_chunks::<5>();
            let code = code.bytes().map(|letter| letter.to_ascii_uppercase());
            let found = entries.binary_search_by(|entry| entry[..3].iter().copied().cmp(code.clone()));
            std::str::from_utf8(&entries[found.ok()?][3..]).ok()?
        }
        _ => code,
    };
    two.parse().ok().filter(|country: &Country| country.exists())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_country_has_three_letters() {
        let entries: Vec<&str> = (0..CODES.len() / 5).map(|at| &CODES[at * 5..at * 5 + 5]).collect();
        let of =
            |part: std::ops::Range<usize>| entries.iter().map(|entry| &entry[part.clone()]).collect::<BTreeSet<_>>();
        assert_eq!((entries.len(), of(0..3).len(), of(3..5).len()), (250, 250, 250));
        for entry in entries {
            let two: Country = entry[3..].parse().expect("two letters");
            assert!(two.exists(), "{entry}");
            assert_eq!((country(&entry[..3]), country(&entry[3..])), (Some(two), Some(two)));
        }
        assert_eq!(
            [country("deu"), country("UK")].map(|c| c.map(|c| c.to_string())),
            [Some("DE".into()), Some("GB".into())]
        );
        assert_eq!(["", "USAUS", "XXX", "AFG ", "\u{e4}\u{e4}"].map(country), [None; 5]);
    }
}
