// Reads examples/fake with the AWS SDK for JavaScript, which shares no code
// with the fake: node check.mjs OUTPUT, where OUTPUT is the file that the fake
// printed into, and AWS_* in the environment what it says. Exits 1 on a
// mismatch.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  CloudTrailClient,
  LookupEventsCommand,
  paginateLookupEvents,
} from "@aws-sdk/client-cloudtrail";
import {
  AssumeRoleCommand,
  GetCallerIdentityCommand,
  STSClient,
} from "@aws-sdk/client-sts";

const region = process.env.AWS_REGION;
const base = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
};

const output = readFileSync(process.argv[2], "utf8");
const histories = [...output.matchAll(/^# account (\d+) Region (\S+): (\d+) events$/gm)].map(
  ([, account, region, events]) => ({ account, region, events: Number(events) }),
);
const roles = [...output.matchAll(/^# role (arn:\S+)(?: external id (\S+))?$/gm)].map(
  ([, arn, externalId]) => ({ arn, externalId, account: arn.split(":")[4] }),
);
const closed = output.match(/^# Region (\S+): not enabled$/m)?.[1];
assert.ok(histories.length > 1 && roles.length > 1 && closed, "the fake described what it knows");

let checks = 0;

async function check(name, body) {
  const result = await body();
  checks++;
  console.log(`ok ${name}${result === undefined ? "" : `: ${result}`}`);
  return result;
}

// Clients retry as their users' do, unless one attempt is asked for.
const cloudtrail = (credentials, more = {}) =>
  new CloudTrailClient({ region, credentials, maxAttempts: 10, ...more });
const sts = (credentials) => new STSClient({ region, credentials, maxAttempts: 1 });

async function readAll(client, parameters = {}) {
  const ids = new Set();
  let count = 0;
  let last = Infinity;
  for await (const page of paginateLookupEvents({ client, pageSize: 50 }, parameters)) {
    for (const event of page.Events) {
      assert.ok(event.EventTime.getTime() <= last, "newest first");
      last = event.EventTime.getTime();
      const record = JSON.parse(event.CloudTrailEvent);
      assert.equal(record.eventID, event.EventId);
      assert.equal(record.eventName, event.EventName);
      assert.equal(new Date(record.eventTime).getTime(), last);
      ids.add(event.EventId);
      count++;
    }
  }
  assert.equal(ids.size, count, "every event once");
  return count;
}

async function readAccount(account, credentials) {
  for (const history of histories.filter((h) => h.account === account)) {
    await check(`reads ${account} in ${history.region}`, async () => {
      const count = await readAll(cloudtrail(credentials, { region: history.region }));
      assert.equal(count, history.events);
      return count;
    });
  }
}

const assume = async (credentials, role, more = {}) => {
  const { Credentials: c, AssumedRoleUser: user } = await sts(credentials).send(
    new AssumeRoleCommand({ RoleArn: role.arn, RoleSessionName: "independent", ExternalId: role.externalId, ...more }),
  );
  assert.match(user.Arn, new RegExp(`^arn:aws:sts::${role.account}:assumed-role/[^/]+/independent$`));
  assert.ok(c.Expiration > new Date());
  return { accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken };
};

const refuses = (name, code, send) => check(name, () => assert.rejects(send, { name: code }).then(() => code));

const home = (await check("knows the caller", () => sts(base).send(new GetCallerIdentityCommand({})).then((r) => r.Account)));

await readAccount(home, base);
await check("filters", async () => {
  const counts = [];
  for (const value of ["true", "false"]) {
    counts.push(await readAll(cloudtrail(base), { LookupAttributes: [{ AttributeKey: "ReadOnly", AttributeValue: value }] }));
  }
  assert.ok(counts.every((n) => n > 0));
  assert.equal(counts[0] + counts[1], histories.find((h) => h.account === home && h.region === region).events);
  return counts.join(" and ");
});

const hub = await assume(base, roles.find((r) => r.account === home));
for (const role of roles.filter((r) => r.account !== home)) {
  await readAccount(role.account, await assume(base, role));
  await check(`assumes ${role.arn} from another role`, () => assume(hub, role).then(() => undefined));
}
await refuses("role chaining over an hour", "ValidationError", () => assume(hub, roles.at(-1), { DurationSeconds: 7200 }));
await refuses("a role without its external id", "AccessDenied", () =>
  assume(base, { ...roles.find((r) => r.externalId), externalId: undefined }),
);
await refuses("a role that isn't there", "AccessDenied", () =>
  assume(base, { ...roles[0], arn: `${roles[0].arn}-missing` }),
);

const one = (credentials, parameters = {}, more = {}) => () =>
  cloudtrail(credentials, { maxAttempts: 1, ...more }).send(new LookupEventsCommand(parameters));
await refuses("an unknown key", "UnrecognizedClientException", one({ accessKeyId: "AKIAUNKNOWN", secretAccessKey: "x" }));
await refuses("a wrong secret", "InvalidSignatureException", one({ ...base, secretAccessKey: "x" }));
await refuses("a session without its token", "UnrecognizedClientException", one({ ...hub, sessionToken: undefined }));
await refuses("a Region not enabled", "UnrecognizedClientException", one(base, {}, { region: closed }));
await refuses("an invented token", "InvalidNextTokenException", one(base, { NextToken: "x" }));
await refuses("51 results", "InvalidMaxResultsException", one(base, { MaxResults: 51 }));
await refuses("a range that ends before it starts", "InvalidTimeRangeException", one(base, { StartTime: new Date(2e12), EndTime: new Date(1e12) }));

await check("throttles", async () => {
  const client = cloudtrail(base, { maxAttempts: 1 });
  const results = await Promise.allSettled(Array.from({ length: 100 }, () => client.send(new LookupEventsCommand({}))));
  const refused = results.filter((r) => r.status === "rejected").map((r) => r.reason);
  assert.ok(refused.length > 0 && refused.length < results.length, `${refused.length} of ${results.length} refused`);
  for (const error of refused) {
    assert.equal(error.name, "ThrottlingException");
    assert.equal(error.message, "Rate exceeded");
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
  }
});

console.log(`${checks} checks passed`);
