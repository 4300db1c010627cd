/* Forget the row macros of schema/messages.def so that the next reader may define its own. No
 * include guard on purpose. */
#undef PART
#undef END_PART
#undef MESSAGE
#undef END_MESSAGE
#undef U64
#undef I64
#undef STR
#undef BIN
#undef LIST
