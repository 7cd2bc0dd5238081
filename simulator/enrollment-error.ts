/** Why a device did not get into the server: what it sent, and what came back (null: no connection). */
export class EnrollmentError extends Error {
  readonly udid: string;
  readonly httpStatus: number | null;

  constructor(udid: string, messageType: string, httpStatus: number | null, detail: string) {
    super(
      `${udid}: ${messageType} ${httpStatus === null ? 'could not be sent' : `was answered with ${httpStatus}`}${detail}`,
    );
    this.name = 'EnrollmentError';
    this.udid = udid;
    this.httpStatus = httpStatus;
  }
}

/** The reason with which a device ends what it has under way: it was stopped, erased or removed. */
export class DeviceGone extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'DeviceGone';
  }
}
