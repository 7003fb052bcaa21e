{{
  config(
    unique_key='uuid',
    meta={'follows': ['document_metadata', 'telemetry']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
      {'columns': ['period_start']},
      {'columns': ['android_version']},
    ]
  )
}}

-- depends_on: {{ ref('document_metadata') }}
-- The window is that of document_metadata: a document that is no telemetry any more has no row in telemetry.
select
  telemetry.uuid,
  telemetry.saved_timestamp,
  telemetry.period_start,
  {{ safe_text(value_at(['device', 'deviceInfo', 'hardware', 'manufacturer'])) }} as device_manufacturer,
  {{ safe_text(value_at(['device', 'deviceInfo', 'hardware', 'model'])) }} as device_model,
  {{ safe_text(value_at(['device', 'userAgent'])) }} as user_agent,
  {{ safe_text(value_at(['device', 'deviceInfo', 'app', 'version'])) }} as cht_android_version,
  {{ first_id([['device', 'deviceInfo', 'software', 'androidVersion']]) }} as android_version,
  {{ safe_number("body.device #>> '{deviceInfo,storage,free}'") }} as storage_free,
  {{ safe_number("body.device #>> '{deviceInfo,storage,total}'") }} as storage_total,
  {{ safe_number("body.device #>> '{deviceInfo,network,upSpeed}'") }} as network_up_speed,
  {{ safe_number("body.device #>> '{deviceInfo,network,downSpeed}'") }} as network_down_speed
from {{ ref('telemetry') }} as telemetry
inner join {{ raw() }} as raw
  on raw._id = telemetry.uuid
  and raw._deleted is not true
cross join lateral {{ fields_of('raw.doc', ['device']) }}
where
  true
  {{ and_new('telemetry') }}
