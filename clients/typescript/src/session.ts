import { execute, type Execute, type ExecOptions } from "./exec.ts";
import { Files } from "./files.ts";
import { Operations } from "./operations.ts";
import type { Transport } from "./transport.ts";
import type { CallOptions, Options, RequestOf, Schema } from "./types.ts";

/** A shell that stays between commands: directory, variables and functions of one command are there for the next. */
export class Session extends Operations {
  /** Its id, or its name. */
  readonly id: string;
  /** The sandbox's files; relative paths begin in the session's directory. */
  readonly files: Files;

  constructor(transport: Transport, sandbox: string, id: string) {
    super(transport, sandbox);
    this.id = id;
    this.files = new Files(transport, sandbox, id);
  }

  /** Runs a command in it, after those that came before. */
  exec: Execute = ((command: string | string[], options: ExecOptions = {}) =>
    execute(this.transport, this.sandbox, command, { ...options, session: this.id })) as Execute;

  /** Describes it. */
  info(options?: CallOptions): Promise<Schema<"Session">> {
    return this.call("session.get", { session: this.id }, options);
  }

  /** Changes its directory and variables for the commands that follow; null unsets one. */
  update(changes: Omit<RequestOf<"session.update">, "session">, options?: CallOptions): Promise<Schema<"Session">> {
    return this.call("session.update", { session: this.id, ...changes }, options);
  }

  /** Ends its shell and everything that this started. */
  async delete(options?: CallOptions): Promise<void> {
    await this.call("session.delete", { session: this.id }, options);
  }

  /** Ends it with the block that it was made in. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.delete();
  }
}

/** The sessions of a sandbox. */
export class Sessions extends Operations {
  /** Starts a session, or finds the one of its name. */
  async create(options: Options<"session.create"> = {}): Promise<Session> {
    const { signal, ...request } = options;
    const { session } = await this.call("session.create", request, { signal });
    return this.get(session);
  }

  /** The session of this id or name. Makes no call. */
  get(session: string): Session {
    return new Session(this.transport, this.sandbox, session);
  }

  /** Those that live. Wakes nothing. */
  async list(options?: CallOptions): Promise<Schema<"Session">[]> {
    return (await this.call("session.list", {} as RequestOf<"session.list">, options)).items;
  }
}
