//! gRPC health and reflection.

use std::collections::BTreeSet;

use futures_util::stream;
use prost::Message;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::cluster::{Cluster, soon};

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_what_readiness_is() {
    let mut cluster = Cluster::start(3).await;
    let mut health = HealthClient::new(cluster.channel(0));
    for service in ["", "quorate.v1.Root", "quorate.v1.Writes"] {
        let answer = health.check(named(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(named("quorate.v2.Root")).await.expect_err("unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watched = health.watch(named("quorate.v2.Root")).await.unwrap().into_inner();
    let first = soon(watched.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);

    // Without a majority nobody leads, so nobody is ready.
    let mut watched = health.watch(named("")).await.unwrap().into_inner();
    assert_eq!(
        soon(watched.message()).await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    cluster.stop_one(1).await;
    cluster.stop_one(2).await;
    assert_eq!(
        soon(watched.message()).await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    let answer = health.check(named("")).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
    cluster.stop().await;
}

async fn reflect(cluster: &Cluster, question: MessageRequest) -> ServerReflectionResponse {
    let mut client = ServerReflectionClient::new(cluster.channel(0));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let mut answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    soon(answers.message()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_all_services_and_describes_them_whole() {
    let cluster = Cluster::start(1).await;
    let listed = reflect(&cluster, MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(listed)) = listed.message_response else {
        panic!("{listed:?}");
    };
    let names: BTreeSet<String> = listed.service.into_iter().map(|service| service.name).collect();
    let ours = [
        "Clients",
        "Cluster",
        "Ids",
        "Root",
        "Sessions",
        "Snapshots",
        "StaleRoot",
        "Watch",
        "Writes",
    ];
    for name in ours.map(|name| format!("quorate.v1.{name}")) {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    for etcds in ["etcdserverpb.KV", "v3lockpb.Lock", "v3electionpb.Election"] {
        assert!(names.contains(etcds), "{etcds} is missing in {names:?}");
    }
    assert!(names.contains("grpc.health.v1.Health"));

    // A tool that reads files by name, one import after the other, finds them all.
    let mut wanted = vec![
        "quorate/v1/write.proto".to_owned(),
        "google/rpc/status.proto".to_owned(),
    ];
    let mut have = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !have.insert(name.clone()) {
            continue;
        }
        let answer = reflect(&cluster, MessageRequest::FileByFilename(name.clone())).await;
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
            panic!("{name} is missing: {answer:?}");
        };
        for bytes in files.file_descriptor_proto {
            let file = prost_types::FileDescriptorProto::decode(bytes.as_slice()).unwrap();
            wanted.extend(file.dependency);
        }
    }
    assert!(
        have.contains("quorate/v1/catalog.proto") && have.contains("google/protobuf/any.proto"),
        "{have:?}"
    );
    let symbol = MessageRequest::FileContainingSymbol("quorate.v1.ErrorDetail".to_owned());
    let answer = reflect(&cluster, symbol).await;
    assert!(
        matches!(
            answer.message_response,
            Some(MessageResponse::FileDescriptorResponse(_))
        ),
        "{answer:?}"
    );
    cluster.stop().await;
}
