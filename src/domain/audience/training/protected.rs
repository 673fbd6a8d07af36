//! Attributes of people that nothing is learned from unless an author asks for it by name.

/// What a name may tell, and the words that give it away: special categories of personal data
/// (GDPR article 9) and the grounds of discrimination that advertising rules name.
const ATTRIBUTES: [(&str, &[&str]); 12] = [
    ("an age", &["age", "birthday", "birthdate", "birth", "dob", "senior", "minor"]),
    ("a gender", &["gender", "sex"]),
    ("a religion", &["religion", "religious", "church", "faith", "mosque", "synagogue"]),
    ("an ethnicity", &["ethnicity", "ethnic", "race", "racial", "tribe", "caste"]),
    ("a nationality", &["nationality", "citizenship", "immigration", "migrant"]),
    ("health", &["health", "medical", "disease", "diagnosis", "medication", "disability", "pregnancy", "pregnant"]),
    ("political opinions", &["politics", "political", "vote", "voter", "election"]),
    ("a sexual orientation", &["orientation", "sexuality", "sexual", "lgbt", "lgbtq"]),
    ("membership of a union", &["union"]),
    ("genes or a body", &["genetic", "dna", "biometric", "fingerprint"]),
    ("a family", &["marital", "children", "parent", "parenthood"]),
    ("a criminal record", &["criminal", "conviction"]),
];

/// The protected attribute that something called `name` may tell: by whole words, which points,
/// colons, hyphens and underscores part.
#[must_use]
pub fn attribute(name: &str) -> Option<&'static str> {
    let words: Vec<&str> = name.split(['_', '.', ':', '-']).collect();
    let tells = |(_, giveaways): &&(_, &[&str])| giveaways.iter().any(|word| words.contains(word));
    ATTRIBUTES.iter().find(tells).map(|(attribute, _)| *attribute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_give_an_attribute_away() {
        assert_eq!(attribute("age"), Some("an age"));
        assert_eq!(attribute("user.gender"), Some("a gender"));
        assert_eq!(attribute("health_article-read"), Some("health"));
        for name in ["page_viewed", "message", "amount", "racer", "partner", "package"] {
            assert_eq!(attribute(name), None, "{name}");
        }
    }
}
