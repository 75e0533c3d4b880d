export { RatioNotOne } from "@rlhf/policy-gradient/errors";
