-- Wakes up to `count` waiters: those of the queue first, then those that wait for any queue.
--
-- A waiter stands in {ns}:waiters:<queue> (any queue: {ns}:waiters) with its deadline by the server's own clock, and
-- blocks on the list {ns}:wake:<queue> ({ns}:wake). A token in that list is a hint and never a job: lost or spare
-- ones cost a look at an empty queue. Nobody waits: nothing is pushed.

local TOKEN_TTL_MS = 60000

local function wake(queue, count)
  local now
  for _, suffix in ipairs({':' .. queue, ''}) do
    while count > 0 do
      local waiter = redis.call('ZPOPMAX', ns .. 'waiters' .. suffix)
      if not waiter[1] then
        break
      end
      now = now or clock()
      if tonumber(waiter[2]) <= now then
        redis.call('DEL', ns .. 'waiters' .. suffix)
        break
      end
      redis.call('RPUSH', ns .. 'wake' .. suffix, '1')
      redis.call('PEXPIRE', ns .. 'wake' .. suffix, TOKEN_TTL_MS)
      count = count - 1
    end
  end
end
