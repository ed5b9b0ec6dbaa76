"""What both ends of hitless speak: report, invocation and MQTT codecs, the client library, the function runtime."""
