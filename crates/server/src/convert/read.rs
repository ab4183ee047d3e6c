//! The reads: a request, checked, and its answer from an image. `Root` and `StaleRoot` answer alike; they differ in where
//! the image comes from.

use quorate_api::v1;
use quorate_replica::machine::{CollectionId, Image, Refusal, WorkerKind};
use quorate_types::limits::NAME_BYTES_MAX;

use super::{Malformed, catalog, page, session};

/// A request that changes nothing.
pub(crate) trait Read: Send + 'static {
    /// What it is answered with.
    type Answer: Send + 'static;

    /// Checks the request, before anything is waited for.
    fn check(&self) -> Result<(), Malformed>;

    /// The answer from `image`.
    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal>;
}

/// Which state an answer shows.
pub(crate) fn position(image: &Image) -> Option<v1::ReadPosition> {
    Some(v1::ReadPosition {
        revision: image.revision().0,
        applied_index: image.position().map_or(0, |index| index.0),
    })
}

fn names(names: &[(&str, &str)]) -> Result<(), Malformed> {
    for (field, name) in names {
        if name.len() > NAME_BYTES_MAX {
            let why = format!("has {} bytes; at most {NAME_BYTES_MAX} are allowed", name.len());
            return Err(Malformed::new(*field, why));
        }
    }
    Ok(())
}

impl Read for v1::DescribeDatabaseRequest {
    type Answer = v1::DescribeDatabaseResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[("name", &self.name)])
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let database = Some(catalog::database(image.describe_database(&self.name)?));
        Ok(v1::DescribeDatabaseResponse {
            database,
            position: position(image),
        })
    }
}

impl Read for v1::ListDatabasesRequest {
    type Answer = v1::ListDatabasesResponse;

    fn check(&self) -> Result<(), Malformed> {
        page::check(self.page.as_ref())
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let list = |page: &_| image.list_databases(page);
        let (databases, next_token) = page::read(self.page.as_ref(), list, catalog::database)?;
        Ok(v1::ListDatabasesResponse {
            databases,
            next_token,
            position: position(image),
        })
    }
}

impl Read for v1::DescribeCollectionRequest {
    type Answer = v1::DescribeCollectionResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[("database", &self.database), ("name", &self.name)])?;
        match (self.name.is_empty(), self.collection_id) {
            (true, 0) => Err(Malformed::new(
                "name",
                "is empty; name the collection, or give its collection_id",
            )),
            _ => Ok(()),
        }
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let collection = if self.name.is_empty() {
            image.describe_collection_by_id(CollectionId(self.collection_id))?
        } else {
            image.describe_collection(&self.database, &self.name)?
        };
        let collection = Some(catalog::collection(collection));
        Ok(v1::DescribeCollectionResponse {
            collection,
            position: position(image),
        })
    }
}

impl Read for v1::HasCollectionRequest {
    type Answer = v1::HasCollectionResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[("database", &self.database), ("name", &self.name)])
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let exists = image.has_collection(&self.database, &self.name);
        Ok(v1::HasCollectionResponse {
            exists,
            position: position(image),
        })
    }
}

impl Read for v1::ListCollectionsRequest {
    type Answer = v1::ListCollectionsResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[("database", &self.database)])?;
        page::check(self.page.as_ref())
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let list = |page: &_| image.list_collections(&self.database, page);
        let (collections, next_token) = page::read(self.page.as_ref(), list, catalog::collection)?;
        Ok(v1::ListCollectionsResponse {
            collections,
            next_token,
            position: position(image),
        })
    }
}

impl Read for v1::HasPartitionRequest {
    type Answer = v1::HasPartitionResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[
            ("database", &self.database),
            ("collection", &self.collection),
            ("name", &self.name),
        ])
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let exists = image.has_partition(&self.database, &self.collection, &self.name)?;
        Ok(v1::HasPartitionResponse {
            exists,
            position: position(image),
        })
    }
}

impl Read for v1::ListPartitionsRequest {
    type Answer = v1::ListPartitionsResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[("database", &self.database), ("collection", &self.collection)])?;
        page::check(self.page.as_ref())
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let list = |page: &_| image.list_partitions(&self.database, &self.collection, page);
        let (partitions, next_token) = page::read(self.page.as_ref(), list, catalog::partition)?;
        Ok(v1::ListPartitionsResponse {
            partitions,
            next_token,
            position: position(image),
        })
    }
}

impl Read for v1::DescribeAliasRequest {
    type Answer = v1::DescribeAliasResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[("database", &self.database), ("alias", &self.alias)])
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let alias = Some(catalog::alias(image.describe_alias(&self.database, &self.alias)?));
        Ok(v1::DescribeAliasResponse {
            alias,
            position: position(image),
        })
    }
}

impl Read for v1::ListAliasesRequest {
    type Answer = v1::ListAliasesResponse;

    fn check(&self) -> Result<(), Malformed> {
        names(&[("database", &self.database), ("collection", &self.collection)])?;
        page::check(self.page.as_ref())
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        let list = |page: &_| image.list_aliases(&self.database, &self.collection, page);
        let (aliases, next_token) = page::read(self.page.as_ref(), list, catalog::alias)?;
        Ok(v1::ListAliasesResponse {
            aliases,
            next_token,
            position: position(image),
        })
    }
}

impl Read for v1::ListSessionsRequest {
    type Answer = v1::ListSessionsResponse;

    fn check(&self) -> Result<(), Malformed> {
        session::worker_kind("kind", self.kind)?;
        page::check(self.page.as_ref())
    }

    fn answer(&self, image: &Image) -> Result<Self::Answer, Refusal> {
        // Checked before; an unknown kind does not get here.
        let kind: Option<WorkerKind> = session::worker_kind("kind", self.kind).ok().flatten();
        let list = |page: &_| image.list_sessions(kind, page);
        let (sessions, next_token) = page::read(self.page.as_ref(), list, session::to_proto)?;
        Ok(v1::ListSessionsResponse {
            sessions,
            next_token,
            position: position(image),
        })
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::machine::Machine;

    use super::*;

    fn long() -> String {
        "x".repeat(256)
    }

    #[test]
    fn what_is_no_question_names_the_field() {
        let token = Some(v1::Page {
            rows: 0,
            token: "f".repeat(9_999),
        });
        let field = |checked: Result<(), Malformed>| checked.err().map(|malformed| malformed.field);
        let cases: Vec<(Option<String>, Option<&str>)> = vec![
            (
                field(v1::DescribeDatabaseRequest { name: String::new() }.check()),
                None,
            ),
            (
                field(v1::DescribeDatabaseRequest { name: long() }.check()),
                Some("name"),
            ),
            (
                field(v1::ListDatabasesRequest { page: token.clone() }.check()),
                Some("page.token"),
            ),
            (
                field(v1::DescribeCollectionRequest::default().check()),
                Some("name"),
            ),
            (
                field(
                    v1::DescribeCollectionRequest {
                        collection_id: 7,
                        ..Default::default()
                    }
                    .check(),
                ),
                None,
            ),
            (
                field(
                    v1::HasPartitionRequest {
                        collection: long(),
                        ..Default::default()
                    }
                    .check(),
                ),
                Some("collection"),
            ),
            (
                field(
                    v1::DescribeAliasRequest {
                        alias: long(),
                        ..Default::default()
                    }
                    .check(),
                ),
                Some("alias"),
            ),
            (
                field(
                    v1::ListAliasesRequest {
                        page: token,
                        ..Default::default()
                    }
                    .check(),
                ),
                Some("page.token"),
            ),
            (
                field(v1::ListSessionsRequest { kind: 5, page: None }.check()),
                Some("kind"),
            ),
            (
                field(v1::ListSessionsRequest { kind: 0, page: None }.check()),
                None,
            ),
        ];
        for (got, want) in cases {
            assert_eq!(got.as_deref(), want);
        }
    }

    #[test]
    fn answers_say_which_state_they_show() {
        let image = Machine::genesis().image();
        let revision = image.revision().0;
        let described = v1::DescribeDatabaseRequest::default()
            .answer(&image)
            .expect("the default database");
        assert_eq!(
            described.database.map(|database| database.name).as_deref(),
            Some("default")
        );
        assert_eq!(
            described.position,
            Some(v1::ReadPosition {
                revision,
                applied_index: 0
            })
        );

        let listed = v1::ListDatabasesRequest::default()
            .answer(&image)
            .expect("a page");
        assert_eq!((listed.databases.len(), listed.next_token.as_str()), (1, ""));
        let has = v1::HasCollectionRequest {
            name: "none".to_owned(),
            ..Default::default()
        };
        assert!(!has.answer(&image).expect("an answer").exists);
        let none = v1::DescribeCollectionRequest {
            collection_id: 9,
            ..Default::default()
        };
        assert!(none.answer(&image).is_err());
        let sessions = v1::ListSessionsRequest::default().answer(&image).expect("a page");
        assert!(sessions.sessions.is_empty() && sessions.position.is_some());
    }
}
