//! Apache Kafka's jars: resolved by Maven from `tests/kafka/pom.xml` into the user's cache folder.

use crate::setup::{self, SetupError};
use crate::workspace;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The version of Apache Kafka in `tests/kafka/pom.xml`.
pub const VERSION: &str = "4.3.1";

/// The folder with the jars: `$KAFKA_LIBS`, or one in the user's cache folder, filled at the first
/// call.
///
/// # Errors
/// [`SetupError::Missing`] without Java 17 or newer, or when the jars are not there and Maven is
/// not either; [`SetupError::Failed`] when Maven cannot resolve them.
pub fn libs() -> Result<PathBuf, SetupError> {
    static LIBS: OnceLock<Result<PathBuf, SetupError>> = OnceLock::new();
    LIBS.get_or_init(resolve).clone()
}

fn resolve() -> Result<PathBuf, SetupError> {
    setup::require("java", &["-version"], NEEDED_FOR)?;
    let version = setup::require("java", &["--version"], NEEDED_FOR)?;
    if java_major(&version).is_none_or(|major| major < JAVA_MIN) {
        let reason = format!("Apache Kafka needs Java {JAVA_MIN}, this is {version}");
        return Err(SetupError::Missing { tool: "java".into(), reason });
    }
    if let Some(libs) = std::env::var_os("KAFKA_LIBS") {
        return Ok(libs.into());
    }
    let dir = cache_dir().join(format!("apache-kafka-{VERSION}"));
    setup::once(&dir, |partial| {
        setup::require("mvn", &["--version"], NEEDED_FOR)?;
        let pom = workspace::tests_dir().join("kafka/pom.xml");
        let output = format!("-DoutputDirectory={}", partial.display());
        let mut mvn = Command::new("mvn");
        mvn.args(["-q", "-B", "-f"]).arg(pom).arg("dependency:copy-dependencies").arg(output);
        mvn.arg("-DincludeScope=runtime");
        setup::run("resolving Apache Kafka's jars with Maven", &mut mvn).map(|_| ())
    })?;
    Ok(dir)
}

/// `17` of `openjdk 17.0.15 2025-04-15`.
fn java_major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(1)?;
    number.split(['.', '-', '+']).next()?.parse().ok()
}

fn cache_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("evenkeel")
}

const NEEDED_FOR: &str = "Apache Kafka";
/// Apache Kafka 4 brokers need Java 17 (KIP-1013).
const JAVA_MIN: u32 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_version_is_read_from_its_first_line() {
        assert_eq!(java_major("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(java_major("java 21 2023-09-19 LTS"), Some(21));
        assert_eq!(java_major("openjdk 25-ea 2025-09-16"), Some(25));
        assert_eq!(java_major("something else"), None);
    }

    #[test]
    fn the_pom_names_the_version_that_this_module_says() {
        let pom = std::fs::read_to_string(workspace::tests_dir().join("kafka/pom.xml"));
        let wanted = format!("<kafka.version>{VERSION}</kafka.version>");
        assert!(pom.expect("the pom is there").contains(&wanted));
    }
}
