import { createHash } from 'node:crypto';
import type { Db } from '../db/db.ts';
import { type PushRecord, readPushTargets, recordPushes } from '../db/queries/push-targets.ts';
import type { Transaction } from '../db/transaction.ts';
import type { ApnsClient, PushResult } from './apns-client.ts';

export interface PushRequest {
  readonly enrollmentId: number;
  /** Names this wish to push: a twin of it carries the same apns-id. */
  readonly stamp: number;
}

export interface PushAttempt {
  /** By enrollment; one without push data is missing. */
  readonly results: ReadonlyMap<number, PushResult>;
  /** Writes the outcome down; part of the transaction that settles. */
  record(t: Transaction): Promise<void>;
}

export interface PushOptions {
  readonly db: Db;
  readonly apns: ApnsClient;
  /** Push to tokens that APNs called dead as well: a person asked. */
  readonly includeDead: boolean;
  readonly repushSeconds: number;
}

/** Pushes to these channels now. Never throws for what APNs says: that is in the results. */
export async function pushEnrollments(
  { db, apns, includeDead, repushSeconds }: PushOptions,
  requests: readonly PushRequest[],
): Promise<PushAttempt> {
  const stamps = new Map(requests.map((request) => [request.enrollmentId, request.stamp]));
  const targets = (await readPushTargets(db, [...stamps.keys()])).filter((target) => includeDead || !target.isDead);
  const answers = await apns.send(
    targets.map((target) => ({
      id: String(target.enrollmentId),
      topic: target.topic,
      token: target.token,
      pushMagic: target.pushMagic,
      apnsId: apnsIdOf(target.enrollmentId, stamps.get(target.enrollmentId) ?? 0),
    })),
  );
  const results = new Map(answers.map((answer) => [Number(answer.id), answer]));
  const records = targets.flatMap((target): PushRecord[] => {
    const result = results.get(target.enrollmentId);
    if (result === undefined) return [];
    const { status, error, apnsId, deadSince, outcome } = result;
    return [
      {
        enrollmentId: target.enrollmentId,
        token: target.token,
        status,
        error,
        apnsId,
        deadSince: outcome === 'token-dead' ? (deadSince ?? new Date()) : undefined,
      },
    ];
  });
  return { results, record: (t) => recordPushes(t, records, repushSeconds) };
}

/** A UUID that follows from the debt: pushing one debt twice shows APNs the same id. */
function apnsIdOf(enrollmentId: number, stamp: number): string {
  const hex = createHash('sha256').update(`push:${enrollmentId}:${stamp}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
