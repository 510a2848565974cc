"""The functions of PostgreSQL that take and return permits in one statement, for `backpressure.permit_statement`.

`adwarm_take_permits_1` applies a batch of operations to the shared budget as a whole, or changes nothing and says why.
It applies only what needs no judgment: every call is admitted with all its permits, every outcome is a success, and
nothing waits, is parked, paced, probed or expired. All other cases belong to `SharedBudget`, whose rules these
functions repeat; a property test runs the same operations through both.

Another version of the rules gets functions with another number in a migration of its own, so that processes with older
code use theirs until they end.
"""

FOLD_SCOPE = """
CREATE OR REPLACE FUNCTION adwarm_fold_scope_1(stored jsonb, rules jsonb, shares float8[], events jsonb, at float8)
RETURNS jsonb LANGUAGE plpgsql AS $body$
-- Returns the columns of a scope after its events, in order; NULL when one of them needs the full rules.
-- An event is one of
--   [0, class, tokens, tokens that must be there, permits of a block or 0]              a call or block is admitted
--   [1, class, tokens to refund, charged at, last percent, last percent above 0, successes,
--    mean seconds if there was no mean, longest seconds, weight of the old mean, addition to it, [seconds]]
--                                                                                        a block returns
--   [2, null, 0, 0, last percent, last percent above 0]        a usage figure of a scope outside of the block's chain
DECLARE
    state jsonb := stored->'state';
    most float8 := (rules->>'slots')::float8;
    rate float8 := (rules->>'rate')::float8;
    burst float8 := (rules->>'burst')::float8;
    window_seconds float8 := (rules->>'window')::float8;
    width float8 := window_seconds / 60.0;
    is_shared boolean := (rules->>'shared')::boolean;
    is_metered boolean := (rules->>'metered')::boolean;
    tokens float8 := (stored->>'tokens')::float8;
    refilled_at float8 := (stored->>'refilled_at')::float8;
    limit_ float8 := (stored->>'limit')::float8;
    parked_until float8 := (stored->>'parked_until')::float8;
    latency float8 := (state->>'latency')::float8;
    credits float8[] := translate(state->>'credits', '[]', '{}');
    held int[] := translate(state->>'held', '[]', '{}');
    -- A demand is [last request, last wait, waiting since], each by class.
    askers float8[] := translate(state->>'askers', '[]', '{}');
    payers float8[] := translate(state->>'payers', '[]', '{}');
    percent float8 := (state->'meter'->>0)::float8;
    reported_at float8 := (state->'meter'->>1)::float8;
    per_call float8 := (state->'meter'->>2)::float8;
    calls_at_report float8 := (state->'meter'->>3)::float8;
    calls_after_report float8 := (state->'meter'->>4)::float8;
    intervals float8[] := translate(state->'meter'->>5, '[]', '{}');
    total float8 := 0;
    mean float8 := (state->'running'->>0)::float8;
    deviation float8 := (state->'running'->>1)::float8;
    last_call_at float8 := (state->'running'->>2)::float8;
    period_start float8 := (state->'running'->>3)::float8;
    call_count int := (state->'running'->>4)::int;
    best float8[] := translate(state->'running'->>5, '[]', '{}');
    previous float8[] := translate(state->'running'->>6, '[]', '{}');
    number float8 := floor(at / width);
    event jsonb;
    kind int;
    class int;
    seconds float8;
    weight float8;
    step float8;
    cost float8;
    reserved float8;
    counted float8;
    slots int;
    in_flight int;
    above int;
BEGIN
    IF parked_until > at OR credits IS NULL OR held IS NULL OR askers IS NULL OR payers IS NULL OR intervals IS NULL
        OR call_count IS NULL THEN
        RETURN NULL;
    END IF;
    IF number * width > at THEN
        number := number - 1;
    END IF;
    FOR place IN 1..cardinality(intervals) / 2 LOOP
        total := total + intervals[2 * place];
    END LOOP;
    FOR event IN SELECT value FROM jsonb_array_elements(events) LOOP
        kind := (event->>0)::int;
        class := (event->>1)::int + 1;
        cost := CASE WHEN kind = 0 THEN (event->>2)::float8 ELSE -(event->>2)::float8 END;
        in_flight := held[1] + held[2] + held[3] + held[4];
        IF percent IS NOT NULL OR kind > 0 AND (event->>4) IS NOT NULL THEN
            WHILE cardinality(intervals) > 0 AND (intervals[1] + 1) * width + window_seconds <= at LOOP
                total := total - intervals[2];
                intervals := intervals[3:];
            END LOOP;
        END IF;
        -- The rate and the size of a block depend on a usage of 75 % or more.
        IF percent IS NOT NULL AND cost <> 0
            AND NOT coalesce(reported_at <= parked_until AND parked_until <= at, false) THEN
            counted := coalesce(total - intervals[2]
                * (1 - least(1.0, greatest(0.0, ((intervals[1] + 1) * width + window_seconds - at) / width))), 0);
            IF percent + per_call * (counted - calls_at_report + calls_after_report)
                - greatest(0.0, at - reported_at - 60.0) / 60.0 * 15.0 >= 75.0 THEN
                RETURN NULL;
            END IF;
        END IF;
        IF kind = 0 THEN
            FOR other IN 1..4 LOOP
                IF askers[2][other] > 0 AND at - askers[2][other] <= 2.0
                    OR payers[2][other] > 0 AND at - payers[2][other] <= 2.0 THEN
                    RETURN NULL;
                END IF;
            END LOOP;
            slots := floor(least(most, greatest(1.0, limit_)) + 1e-9);
            above := 0;
            IF slots >= 10 THEN
                FOR other IN 1..class - 1 LOOP
                    IF askers[1][other] > 0 AND at - askers[1][other] <= 2.0 AND shares[other] > 0
                        AND held[other] < greatest(1, floor(shares[other] * slots + 1e-9)) THEN
                        above := above + 1;
                    END IF;
                END LOOP;
            END IF;
            IF slots - in_flight - above <= 0 THEN
                RETURN NULL;
            END IF;
            IF rate IS NOT NULL THEN
                IF at > refilled_at OR tokens > burst THEN
                    step := greatest(0.0, at - refilled_at) * rate;
                    refilled_at := greatest(at, refilled_at);
                    tokens := least(burst, tokens + step);
                    FOR other IN 1..4 LOOP
                        credits[other] := least(greatest(2.0, shares[other] * greatest(burst, rate * 4.0)),
                            credits[other] + shares[other] * step);
                    END LOOP;
                END IF;
                reserved := CASE WHEN is_shared AND class > 1 AND payers[1][1] > 0 AND at - payers[1][1] <= 2.0
                    THEN burst * 0.5 ELSE 0 END;
                step := (event->>3)::float8;
                IF tokens - greatest(0.0, least(reserved, burst - step - 1)) < step
                    OR trunc(tokens / 2) < (event->>4)::float8 THEN
                    RETURN NULL;
                END IF;
                IF credits[class] >= cost OR tokens - greatest(0.0, least(reserved, burst - cost - 1)) < cost THEN
                    credits[class] := credits[class] - cost;
                END IF;
                tokens := tokens - cost;
            END IF;
            askers[1][class] := at;
            askers[2][class] := least(askers[2][class], at - 1.0);
            askers[3][class] := at;
            payers[1][class] := at;
            payers[2][class] := least(payers[2][class], at - 1.0);
            payers[3][class] := at;
            held[class] := held[class] + 1;
        ELSIF cost <> 0 AND rate IS NOT NULL THEN
            tokens := least(burst, tokens - cost);
            credits[class] := credits[class] - cost;
        END IF;
        IF is_metered AND cost <> 0 THEN
            IF cardinality(intervals) = 0 OR intervals[cardinality(intervals) - 1] < number THEN
                intervals := intervals || ARRAY[number, 0.0];
                WHILE (intervals[1] + 1) * width + window_seconds <= at LOOP
                    total := total - intervals[2];
                    intervals := intervals[3:];
                END LOOP;
            END IF;
            intervals[cardinality(intervals)] := intervals[cardinality(intervals)] + cost;
            total := total + cost;
            IF cost < 0 AND (event->>3)::float8 <= reported_at THEN
                calls_at_report := calls_at_report + cost;
            END IF;
        END IF;
        CONTINUE WHEN kind = 0;
        IF (event->>4) IS NOT NULL THEN
            counted := coalesce(total - intervals[2]
                * (1 - least(1.0, greatest(0.0, ((intervals[1] + 1) * width + window_seconds - at) / width))), 0);
            percent := (event->>4)::float8;
            reported_at := at;
            calls_after_report := greatest(0, in_flight - CASE WHEN kind = 1 THEN 1 ELSE 0 END) / 2.0;
            calls_at_report := counted;
            per_call := coalesce(
                nullif(least(1.0, (event->>5)::float8 / greatest(1.0, counted - calls_after_report)), 0.0), per_call);
        END IF;
        CONTINUE WHEN kind = 2;
        IF (event->>6)::int > 0 THEN
            latency := CASE WHEN latency = 0 THEN (event->>7)::float8
                ELSE latency * (event->>9)::float8 + (event->>10)::float8 END;
            FOR place IN 0..(event->>6)::int - 1 LOOP
                -- Several calls that return at one time weigh as much as the first of them.
                EXIT WHEN call_count >= 20 AND place > 0 AND last_call_at = at AND best <= ARRAY[mean, deviation];
                seconds := (event->11->>place)::float8;
                IF call_count < 20 THEN
                    call_count := call_count + 1;
                    weight := 1.0 / call_count;
                    period_start := at;
                ELSE
                    IF at - period_start >= 900.0 THEN
                        previous := best;
                        best := NULL;
                        period_start := at;
                    END IF;
                    best := least(best, ARRAY[mean, deviation]);
                    IF (event->>8)::float8 > (least(best, previous))[1]
                        + 4.0 * greatest((least(best, previous))[2], 0.5 * (least(best, previous))[1]) THEN
                        RETURN NULL;
                    END IF;
                    weight := least(0.05, greatest(0.0, at - last_call_at) / 300.0);
                END IF;
                step := CASE WHEN call_count > 1 THEN abs(seconds - mean) ELSE 0 END;
                mean := mean + weight * (seconds - mean);
                deviation := deviation + weight * (step - deviation);
                last_call_at := at;
            END LOOP;
            FOR place IN 1..(event->>6)::int LOOP
                EXIT WHEN in_flight * 2 < limit_ OR limit_ = most AND most >= 1.0;
                limit_ := least(most, greatest(1.0, limit_ + 1 / greatest(1.0, limit_)));
            END LOOP;
        END IF;
        held[class] := greatest(0, held[class] - 1);
    END LOOP;
    RETURN jsonb_build_object('limit', limit_, 'tokens', tokens, 'refilled_at', refilled_at, 'usage', percent,
        'state', state || jsonb_build_object('credits', credits, 'held', held, 'askers', askers, 'payers', payers,
            'latency', latency, 'meter', jsonb_build_array(percent, reported_at, per_call, calls_at_report,
                calls_after_report, intervals), 'running', jsonb_build_array(mean, deviation, last_call_at,
                period_start, call_count, best, previous)));
END $body$
"""

COUNT_SUCCESSES = """
CREATE OR REPLACE FUNCTION adwarm_count_successes_1(stored jsonb, successes int, changed_at float8,
    window_seconds float8, at float8)
RETURNS jsonb LANGUAGE plpgsql AS $body$
-- Returns the data of a closed breaker after calls that succeeded.
DECLARE
    number bigint := floor(at / (window_seconds / 10.0));
    intervals jsonb;
BEGIN
    IF number * (window_seconds / 10.0) > at THEN
        number := number - 1;
    END IF;
    SELECT coalesce(jsonb_agg(value ORDER BY place), '[]') INTO intervals
        FROM jsonb_array_elements(stored->'slices') WITH ORDINALITY AS counts(value, place)
        WHERE (value->>0)::bigint > number - 10;
    IF jsonb_array_length(intervals) = 0 OR (intervals->-1->>0)::bigint < number THEN
        intervals := intervals || jsonb_build_array(jsonb_build_array(number, 0, 0, '[]'::jsonb));
    END IF;
    RETURN stored || jsonb_build_object(
        'slices', jsonb_set(intervals, '{-1,1}', to_jsonb((intervals->-1->>1)::int + successes)),
        'trips', CASE WHEN at - changed_at >= window_seconds THEN 0 ELSE (stored->>'trips')::int END,
        'probes', '[]'::jsonb, 'well', 0, 'failed', '[]'::jsonb, 'why', NULL);
END $body$
"""

TAKE_PERMITS = """
CREATE OR REPLACE FUNCTION adwarm_take_permits_1(rules jsonb, batch jsonb, given_time float8)
RETURNS jsonb LANGUAGE plpgsql AS $body$
-- Applies a batch as a whole and returns its time and the last fencing token before it, or {"refused": why}.
-- Without `given_time` the clock is the server's. The keys of `batch`:
--   scopes    by name, {"kind", "events"}: see adwarm_fold_scope_1
--   breakers  by name of a source, the calls that succeeded
--   absent    names of breakers that must not exist
--   returns   [[id, token], ...]
--   renewals  [[id, token], ...]
--   takes     [[id, scopes, class, cost, source, permits, is a block], ...]
--   owner     of the new grants
DECLARE
    shares float8[] := translate(rules->>'shares', '[]', '{}');
    lease float8 := (rules->>'lease')::float8;
    at float8;
    ledger jsonb;
    new_ledger jsonb;
    folded jsonb;
    found_row record;
    names text[] := '{}';
    rows_ jsonb[] := '{}';
    wanted text[] := ARRAY(SELECT jsonb_object_keys(batch->'scopes'));
    sources text[] := ARRAY(SELECT jsonb_object_keys(batch->'breakers'));
    absent text[] := ARRAY(SELECT jsonb_array_elements_text(batch->'absent'));
    return_ids text[] := ARRAY(SELECT pair->>0 FROM jsonb_array_elements(batch->'returns') AS o(pair));
    renewal_ids text[] := ARRAY(SELECT pair->>0 FROM jsonb_array_elements(batch->'renewals') AS o(pair));
    owned int := jsonb_array_length(batch->'returns') + jsonb_array_length(batch->'renewals');
    takes int := jsonb_array_length(batch->'takes');
BEGIN
    -- The one lock of the budget; every statement below sees what its last holder committed.
    SELECT state::jsonb->'ledger' INTO ledger FROM capacity_scope WHERE scope = 'fleet' FOR UPDATE;
    IF ledger IS NULL THEN
        RETURN '{"refused": "the budget has no rows yet"}';
    END IF;
    at := coalesce(given_time, extract(epoch FROM clock_timestamp())::float8);
    IF (ledger->>'next_expiry')::float8 <= at THEN
        RETURN '{"refused": "a grant has expired"}';
    END IF;
    -- Arrays, because PostgreSQL expects 100 elements of JSON and would read small tables from start to end.
    IF owned > 0 AND owned <> (
        SELECT count(*) FROM capacity_grant WHERE id = ANY(return_ids || renewal_ids) AND counted
        AND id || ' ' || token = ANY(ARRAY(SELECT (pair->>0) || ' ' || (pair->>1)
            FROM jsonb_array_elements((batch->'returns') || (batch->'renewals')) AS o(pair)))
    ) THEN
        RETURN '{"refused": "a grant is not held any more"}';
    END IF;
    IF (SELECT count(*) FROM breaker WHERE source = ANY(absent || sources)
        AND (state <> 'closed' OR source = ANY(absent))) > 0
        OR (SELECT count(*) FROM breaker WHERE source = ANY(sources)) < cardinality(sources) THEN
        RETURN '{"refused": "a breaker counts"}';
    END IF;
    new_ledger := jsonb_build_object(
        'token', (ledger->>'token')::bigint + jsonb_array_length(batch->'renewals') + takes,
        'next_expiry', CASE WHEN takes = 0 THEN (ledger->>'next_expiry')::float8
            ELSE least((ledger->>'next_expiry')::float8, at + lease) END);
    FOR found_row IN
        SELECT c.scope AS name, batch->'scopes'->c.scope AS item, to_jsonb(c) AS stored FROM capacity_scope c
        WHERE c.scope = ANY(wanted)
    LOOP
        folded := adwarm_fold_scope_1(found_row.stored, rules->(found_row.item->>'kind'), shares,
            found_row.item->'events', at);
        IF folded IS NULL THEN
            RETURN jsonb_build_object('refused', found_row.name);
        END IF;
        IF found_row.name = 'fleet' THEN
            folded := jsonb_set(folded, '{state,ledger}', new_ledger);
        END IF;
        names := names || found_row.name;
        rows_ := rows_ || folded;
    END LOOP;
    IF cardinality(names) < cardinality(wanted) THEN
        RETURN '{"refused": "a scope has no row yet"}';
    END IF;
    UPDATE capacity_scope c SET "limit" = (n.value->>'limit')::float8, tokens = (n.value->>'tokens')::float8,
        refilled_at = (n.value->>'refilled_at')::float8, usage = (n.value->>'usage')::float8,
        state = (n.value->'state')::json
    FROM unnest(names, rows_) AS n(name, value) WHERE c.scope = n.name;
    IF NOT 'fleet' = ANY(names) THEN
        UPDATE capacity_scope SET state = jsonb_set(state::jsonb, '{ledger}', new_ledger)::json WHERE scope = 'fleet';
    END IF;
    UPDATE breaker SET data = adwarm_count_successes_1(data::jsonb, (batch->'breakers'->>source)::int, changed_at,
        (rules->>'breaker_window')::float8, at)::json
    WHERE source = ANY(sources) AND (batch->'breakers'->>source)::int > 0;
    DELETE FROM capacity_grant WHERE id = ANY(return_ids);
    UPDATE capacity_grant SET expires_at = at + lease,
        token = (ledger->>'token')::bigint + array_position(renewal_ids, id::text)
    WHERE id = ANY(renewal_ids);
    IF takes > 0 THEN
        INSERT INTO capacity_grant (id, token, scopes, priority, cost, source, probe, permits, counted, owner,
            granted_at, spend_until, expires_at)
        SELECT t.take->>0, (ledger->>'token')::bigint + jsonb_array_length(batch->'renewals') + t.place,
            (t.take->1)::json, (t.take->>2)::int, (t.take->>3)::float8, t.take->>4, false, (t.take->>5)::int, true,
            batch->>'owner', at,
            at + CASE WHEN (t.take->>6)::boolean THEN (rules->>'block')::float8 ELSE lease END, at + lease
        FROM jsonb_array_elements(batch->'takes') WITH ORDINALITY AS t(take, place);
    END IF;
    RETURN jsonb_build_object('at', at, 'token', (ledger->>'token')::bigint);
END $body$
"""

CREATE_FUNCTIONS = (FOLD_SCOPE, COUNT_SUCCESSES, TAKE_PERMITS)
DROP_FUNCTIONS = (
    "DROP FUNCTION IF EXISTS adwarm_take_permits_1(jsonb, jsonb, float8)",
    "DROP FUNCTION IF EXISTS adwarm_count_successes_1(jsonb, int, float8, float8, float8)",
    "DROP FUNCTION IF EXISTS adwarm_fold_scope_1(jsonb, jsonb, float8[], jsonb, float8)",
)
