//! Regions of a finding's evidence, to mark them on the live picture while it
//! shows them, and a crop to show when it does not.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::box_of_thousandths;
use watchtower_screen::evidence_regions::EvidenceRegions;

use crate::AppState;
use crate::http::problem::Problem;

/// Regions of a finding's evidence on the picture it was made on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RegionsShown {
    /// Empty once they are not kept any more.
    items: Vec<RegionShown>,
    /// Null like that.
    crop: Option<CropShown>,
}

/// Place of a piece of evidence, and how it looked.
#[derive(Debug, Serialize, ToSchema)]
struct RegionShown {
    #[schema(schema_with = box_of_thousandths)]
    r#box: [u16; 4],
    /// Area covered by the cells.
    #[schema(schema_with = box_of_thousandths)]
    area: [u16; 4],
    /// Cells of a row.
    columns: u16,
    /// Mean luma of each cell, row by row, two hexadecimal digits each: full
    /// range, at least 1; 0 where something is redacted.
    #[schema(pattern = "^([0-9a-f]{2})+$")]
    luma: String,
}

/// Crop of the best evidence, secrets painted over.
#[derive(Debug, Serialize, ToSchema)]
struct CropShown {
    #[schema(schema_with = box_of_thousandths)]
    area: [u16; 4],
    /// SHA-256 of the crop, lower-case hexadecimal.
    sha256: String,
    /// Where it is served, on this server.
    url: String,
}

/// Regions of a finding's evidence
///
/// Kept in memory for the newest findings of this server's own analysts.
#[utoipa::path(
    get,
    path = "/api/findings/{id}/regions",
    tag = "findings",
    params(("id" = Uuid, Path, description = "Id of the finding")),
    responses(
        (status = 200, body = RegionsShown),
        (status = 404, description = "Not an id of a finding", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn regions(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<RegionsShown>, Problem> {
    let (id, kept) = kept(&state, id)?;
    let kept = kept.as_deref();
    let items = kept.map_or(&[][..], |kept| &kept.regions);
    let items = items.iter().map(|region| RegionShown {
        r#box: region.bounds,
        area: region.grid.area,
        columns: region.grid.columns,
        luma: hex::encode(&region.grid.cells),
    });
    let crop = kept.and_then(|kept| kept.crop.as_ref());
    Ok(Json(RegionsShown {
        items: items.collect(),
        crop: crop.map(|crop| CropShown {
            area: crop.area,
            sha256: crop.still.sha256().to_owned(),
            url: format!("/api/findings/{id}/crop.jpg"),
        }),
    }))
}

/// Crop of a finding's best evidence
#[utoipa::path(
    get,
    path = "/api/findings/{id}/crop.jpg",
    tag = "findings",
    params(("id" = Uuid, Path, description = "Id of the finding")),
    responses(
        (status = 200, content_type = "image/jpeg", body = Vec<u8>, headers(("etag" = String, description = "The SHA-256, in quotes"))),
        (status = 304, description = "Not modified (`If-None-Match`)"),
        (status = 404, description = "Not found, or not kept any more", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn crop(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let (_, kept) = kept(&state, id)?;
    let crop = kept.as_ref().and_then(|kept| kept.crop.as_ref());
    let crop = crop.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "crop not kept"))?;
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
        (header::ETAG, format!("\"{}\"", crop.still.sha256())),
    ];
    Ok((headers, crop.still.bytes().clone()).into_response())
}

fn kept(
    state: &AppState,
    id: Result<Path<String>, PathRejection>,
) -> Result<(Uuid, Option<Arc<EvidenceRegions>>), Problem> {
    let id = id.ok().and_then(|Path(id)| id.parse::<Uuid>().ok());
    let id = id.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "finding not found"))?;
    Ok((id, state.console.findings.regions(id)))
}
