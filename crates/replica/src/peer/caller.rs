//! Who calls whom: the metadata of every peer call.

use std::str::FromStr;

use quorate_types::{BootId, ClusterId, Incarnation, NodeId};
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

const CLUSTER: &str = "quorate-cluster";
const FROM: &str = "quorate-from";
const TO: &str = "quorate-to";
const BOOT: &str = "quorate-boot";
const INCARNATION: &str = "quorate-incarnation";

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) cluster: ClusterId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    /// The sender's run.
    pub(crate) boot: BootId,
    /// The sender's data directory.
    pub(crate) incarnation: Incarnation,
}

impl Caller {
    /// Writes the metadata.
    pub(crate) fn write(&self, metadata: &mut MetadataMap) {
        let mut put = |name: &'static str, value: String| {
            // Digits only: always a valid value.
            if let Ok(value) = MetadataValue::try_from(value) {
                metadata.insert(name, value);
            }
        };
        put(CLUSTER, self.cluster.to_string());
        put(FROM, self.from.to_string());
        put(TO, self.to.to_string());
        put(BOOT, self.boot.to_string());
        put(INCARNATION, self.incarnation.to_string());
    }

    /// Reads the metadata.
    pub(crate) fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        Ok(Self {
            cluster: field(metadata, CLUSTER)?,
            from: NodeId(field(metadata, FROM)?),
            to: NodeId(field(metadata, TO)?),
            boot: field(metadata, BOOT)?,
            incarnation: field(metadata, INCARNATION)?,
        })
    }
}

fn field<T: FromStr>(metadata: &MetadataMap, name: &'static str) -> Result<T, Status> {
    metadata
        .get(name)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Status::invalid_argument(format!("the metadata {name} is missing or malformed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller {
            cluster: ClusterId(1),
            from: NodeId(2),
            to: NodeId(3),
            boot: BootId(4),
            incarnation: Incarnation(u128::MAX),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut metadata = MetadataMap::new();
        caller().write(&mut metadata);
        assert_eq!(Caller::read(&metadata).expect("complete"), caller());
    }

    #[test]
    fn a_missing_or_malformed_field_is_named() {
        for name in [CLUSTER, FROM, TO, BOOT, INCARNATION] {
            let mut metadata = MetadataMap::new();
            caller().write(&mut metadata);
            metadata.insert(name, MetadataValue::from_static("-1"));
            let error = Caller::read(&metadata).expect_err("malformed");
            assert!(error.message().contains(name), "{error}");
            metadata.remove(name);
            assert!(Caller::read(&metadata).is_err(), "{name} is missing");
        }
    }
}
