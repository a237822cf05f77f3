import type { components } from "./generated/api.ts";

/** The service's codes, and `connection_lost`: the connection broke, and the request may have been carried out. */
export type ErrorCode = components["schemas"]["Code"] | "connection_lost";

interface Facts {
  code: ErrorCode;
  message: string;
  status?: number;
  requestId?: string | undefined;
  retryable?: boolean;
  details?: Record<string, unknown> | undefined;
  cause?: unknown;
}

/** What a caller does next, where the message of the service does not say it. */
const NEXT: Partial<Record<ErrorCode, string>> = {
  unauthorized: "check `key` of new Cabana({ url, key })",
  forbidden: "use a key whose scopes allow it, or a path inside the sandbox's roots",
  interrupted: "look whether it was carried out before you repeat it",
  connection_lost: "look whether it was carried out before you repeat it",
  too_many_requests: "repeat it after `retryAfterMs`",
  container_not_ready: "repeat it: it was not carried out",
  unavailable: "repeat it: it was not carried out",
  precondition_failed: "read the file again and repeat the change with its new etag",
  storage_full: "remove files, or use a larger instance",
  internal: "report it with its request id",
};

/** A request that was refused or that failed. Branch on `code`, or on the class. */
export class CabanaError extends Error {
  override readonly name: string = "CabanaError";
  readonly code: ErrorCode;
  /** The HTTP status, or 0 where no answer came. */
  readonly status: number;
  /** Stands in the logs and the audit trail of the service. */
  readonly requestId: string | undefined;
  /** True if it was not carried out, and a repeat may succeed. */
  readonly retryable: boolean;
  /** Facts for programs, such as `reason`, `path` and `limitBytes`. */
  readonly details: Readonly<Record<string, unknown>>;
  /** What to do about it. */
  readonly nextStep: string | undefined;

  constructor(facts: Facts) {
    const next = NEXT[facts.code];
    const id = facts.requestId === undefined ? "" : ` [${facts.code}, request ${facts.requestId}]`;
    super(facts.message + id, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.status = facts.status ?? 0;
    this.requestId = facts.requestId;
    this.retryable = facts.retryable ?? false;
    this.details = facts.details ?? {};
    this.nextStep = next;
  }

  /** Tells causes of one code apart: `no_such_file`, `exists`, `running`. */
  get reason(): string | undefined {
    return typeof this.details["reason"] === "string" ? this.details["reason"] : undefined;
  }

  /** When a repeat may succeed. */
  get retryAfterMs(): number | undefined {
    return typeof this.details["retryAfterMs"] === "number" ? this.details["retryAfterMs"] : undefined;
  }
}

export class InvalidRequestError extends CabanaError { override readonly name = "InvalidRequestError"; }
export class UnauthorizedError extends CabanaError { override readonly name = "UnauthorizedError"; }
export class ForbiddenError extends CabanaError { override readonly name = "ForbiddenError"; }
export class NotFoundError extends CabanaError { override readonly name = "NotFoundError"; }
export class ConflictError extends CabanaError { override readonly name = "ConflictError"; }
/** It may have been carried out: the connection broke on our side or on the service's. */
export class InterruptedError extends CabanaError { override readonly name = "InterruptedError"; }
export class GoneError extends CabanaError { override readonly name = "GoneError"; }
export class PreconditionFailedError extends CabanaError { override readonly name = "PreconditionFailedError"; }
export class TooLargeError extends CabanaError { override readonly name = "TooLargeError"; }
export class UnprocessableError extends CabanaError { override readonly name = "UnprocessableError"; }
export class TooManyRequestsError extends CabanaError { override readonly name = "TooManyRequestsError"; }
/** The sandbox or the service is not up: nothing was carried out. */
export class NotReadyError extends CabanaError { override readonly name = "NotReadyError"; }
export class TimeoutError extends CabanaError { override readonly name = "TimeoutError"; }
export class StorageFullError extends CabanaError { override readonly name = "StorageFullError"; }

const CLASSES: Partial<Record<ErrorCode, typeof CabanaError>> = {
  invalid_request: InvalidRequestError,
  unauthorized: UnauthorizedError,
  forbidden: ForbiddenError,
  not_found: NotFoundError,
  conflict: ConflictError,
  interrupted: InterruptedError,
  connection_lost: InterruptedError,
  gone: GoneError,
  precondition_failed: PreconditionFailedError,
  payload_too_large: TooLargeError,
  unprocessable: UnprocessableError,
  too_many_requests: TooManyRequestsError,
  container_not_ready: NotReadyError,
  unavailable: NotReadyError,
  timeout: TimeoutError,
  storage_full: StorageFullError,
};

/** The error of the class that belongs to its code. */
export function errorOf(facts: Facts): CabanaError {
  return new (CLASSES[facts.code] ?? CabanaError)(facts);
}

/** The error of a connection that broke, or that was never made. */
export function connectionLost(cause: unknown, message = "the connection to the service broke"): CabanaError {
  // Node says in a second cause what has happened to the connection.
  const reason = cause instanceof Error ? (cause.cause instanceof Error ? cause.cause : cause).message : "";
  return errorOf({ code: "connection_lost", message: reason === "" ? message : `${message}: ${reason}`, cause });
}
