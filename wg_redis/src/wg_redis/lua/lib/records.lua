-- The two small records of a job, both msgpack arrays, and the names of the keys that are not fixed.
--
-- head, in {ns}:heads by id: what the producer said. Only a reprioritise, or a requeue from dead, changes it.
-- run, in {ns}:runs by id: what has happened since. Absent until the first reserve or promote.
--   worker is '' while nobody holds the job; ready_at is 0 when it became ready as it was enqueued;
--   score is its place in the ready queue, kept while it runs so that it can come back there.
-- hold, in {ns}:running:<worker> by id: the text '<lease_no> <started, 0 or 1> <queue>'.
--
-- A place in a ready queue is -priority * 2^42 + sequence number: exact in a double up to 2^53, which allows the
-- priorities -100 to 100 and four million million jobs. Text made of it needs %.0f: Lua's own has 14 digits.

local NAME, QUEUE, PRIORITY, MAX_RETRIES, AT_MOST_ONCE, ENQUEUED_AT, EXPIRES_AT = 1, 2, 3, 4, 5, 6, 7
local WORKER, LEASE_NO, ATTEMPT, CRASHES, SNOOZES, BOUNCES, RESERVED_AT, READY_AT, SCORE = 1, 2, 3, 4, 5, 6, 7, 8, 9
local BAND = 4398046511104

local ns = KEYS[1]

local function decode_run(packed)
  if packed then
    return cmsgpack.unpack(packed)
  end
  return {'', 0, 0, 0, 0, 0, 0, 0, 0}
end

local function encode_hold(lease_no, started, queue)
  return lease_no .. ' ' .. started .. ' ' .. queue
end

-- Returns lease_no and started ('0' or '1') as text, and the queue.
local function decode_hold(hold)
  return string.match(hold, '^(%d+) (%d) (.*)$')
end

local function ready_key(queue)
  if queue == 'default' then
    return ns .. 'jobs'
  end
  return ns .. 'jobs:' .. queue
end
