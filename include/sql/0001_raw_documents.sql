-- The relations of CHT Sync 2.x: on its database nothing here changes anything.
create table if not exists {schema}.{table} (
    saved_timestamp timestamp,
    _id varchar primary key,
    _deleted boolean,
    source varchar,
    doc jsonb
);

create table if not exists {schema}.couchdb_progress (
    seq varchar,
    pending integer,
    updated_at timestamptz,
    source varchar primary key
);

-- An index has the name of its column, as monitoring and people know it; where another table of the schema
-- has taken that name, the table's name comes in front.
do $$
declare
    -- Set by whoever runs this file: a name cannot be written into a quoted body safely.
    relation constant regclass := current_setting('cht_sync.table')::regclass;
    wanted text;
begin
    foreach wanted in array array['_deleted', 'saved_timestamp', 'source'] loop
        continue when exists (
            select from pg_index i
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = relation and a.attname = wanted and i.indisvalid
        );
        execute format(
            'create index %I on %s (%I)',
            case
                when exists (
                    select from pg_class c, pg_class r
                    where r.oid = relation and c.relnamespace = r.relnamespace and c.relname = wanted
                ) then left((select relname from pg_class where oid = relation), 40) || '_' || wanted
                else wanted
            end,
            relation,
            wanted
        );
    end loop;
end
$$;
